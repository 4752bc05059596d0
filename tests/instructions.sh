#!/usr/bin/env bash
# How many instructions the steps of every request take, against what is recorded in benches/instructions.rs.
#
#   bash tests/instructions.sh [FILTER]      all of them, or those whose name has FILTER in it
#
# Without valgrind or the runner it is "skipped: ..."; with SLUIS_REQUIRE_PEERS=1 that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Library and runner talk to each other in their own language, so they are of one version.
version=$(grep -A 1 '^name = "gungraun-runner"$' Cargo.lock | sed -n 's/^version = "\(.*\)"$/\1/p')
install="cargo install --locked --debug gungraun-runner --version $version"

missing() {
    if [ -n "${SLUIS_REQUIRE_PEERS:-}" ]; then
        echo "$1 is not installed ($2), and SLUIS_REQUIRE_PEERS is set" >&2
        exit 1
    fi
    echo "skipped: $1 is not installed ($2)"
    exit 0
}

command -v valgrind >/dev/null || missing valgrind "apt-get install valgrind"
have=$(cargo install --list | sed -n 's/^gungraun-runner v\([^ :]*\).*/\1/p')
if ! command -v gungraun-runner >/dev/null || [ "${have:-$version}" != "$version" ]; then
    missing "gungraun-runner $version" "$install"
fi

cargo --config benches/instructions.toml bench --profile dev --bench instructions -- "$@"
