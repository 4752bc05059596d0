#!/usr/bin/env bash
# cargo-deny: bans, licences and sources without a network; advisories where their database can be had.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null; then
    if [ -n "${SLUIS_REQUIRE_PEERS:-}" ]; then
        echo "cargo-deny is not installed, and SLUIS_REQUIRE_PEERS is set" >&2
        exit 1
    fi
    echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
    exit 0
fi

# `cargo fetch` first: offline means that nothing may be missing.
cargo fetch --locked
cargo deny --offline check bans licenses sources

if find "${CARGO_HOME:-$HOME/.cargo}"/advisory-db* -name '*.md' -print -quit 2>/dev/null | grep -q .; then
    cargo deny --offline check advisories
else
    echo "not checked: advisories, since there is no advisory database here (cargo deny fetch gets it)"
fi
