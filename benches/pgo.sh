#!/usr/bin/env bash
# Builds sluis with a profile of its own request path (profile-guided optimisation), and prints where it is.
#
# Three builds: one that counts, the load of `compare` against it, and one that the counts go into. Some twenty minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
merge="$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata"
if [ ! -x "$merge" ]; then
    echo "llvm-profdata of this toolchain is not installed: rustup component add llvm-tools" >&2
    exit 1
fi

folder="$PWD/target/pgo"
counts="$folder/counts"
rm -rf "$counts"

# With a target named, flags are for the program alone, and not for what runs while it is built.
build() {
    RUSTFLAGS="$1" CARGO_TARGET_DIR="$folder/$2" cargo build --release --bin sluis --target "$host"
}

build "-Cprofile-generate=$counts" counting
export SLUIS_COMPARE_BINARIES="counting=$folder/counting/$host/release/sluis" SLUIS_COMPARE_PEERS=none
export SLUIS_COMPARE_ROWS=forward,blocked,tls,http2,body SLUIS_COMPARE_ROUNDS=2 SLUIS_COMPARE_SECONDS=1
cargo bench --profile dev --bench compare
"$merge" merge -o "$folder/sluis.profdata" "$counts"
build "-Cprofile-use=$folder/sluis.profdata" counted
ls "$folder/counted/$host/release/sluis"
