#!/usr/bin/env bash
# Every fuzz target for a few seconds (first argument, 20 when left out), or those that are named after it, where cargo-fuzz
# and a nightly are. Words and first inputs of a target are in fuzz/dictionaries and fuzz/seeds.
# Without a sanitizer: there is no unsafe code here, what is looked for are panics and broken promises, and the address
# sanitizer makes the build take many times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-20}"

if [ ! -d fuzz ]; then
    echo "no fuzz targets"
    exit 0
fi
if ! command -v cargo-fuzz >/dev/null || ! cargo +nightly --version >/dev/null 2>&1; then
    if [ -n "${SLUIS_REQUIRE_PEERS:-}" ]; then
        echo "cargo-fuzz or a nightly toolchain is not installed, and SLUIS_REQUIRE_PEERS is set" >&2
        exit 1
    fi
    echo "skipped: fuzzing needs cargo-fuzz and a nightly toolchain"
    exit 0
fi

read -ra targets <<<"${*:2}"
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
for target in "${targets[@]}"; do
    echo "--- fuzz $target for ${seconds}s"
    mkdir -p "fuzz/corpus/$target"
    options=(-max_total_time="$seconds" -rss_limit_mb=4096 -use_value_profile=1 -print_final_stats=1)
    corpora=("fuzz/corpus/$target")
    [ ! -f "fuzz/dictionaries/$target" ] || options+=("-dict=fuzz/dictionaries/$target")
    [ ! -d "fuzz/seeds/$target" ] || corpora+=("fuzz/seeds/$target")
    cargo +nightly fuzz run --sanitizer none "$target" "${corpora[@]}" -- "${options[@]}"
done
