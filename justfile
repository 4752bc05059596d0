# The one door: what CI runs is what you run. `just` lists the recipes.

export RUSTDOCFLAGS := "-D warnings"

# lists the recipes
default:
    @just --list

# everything that CI runs
check: fmt lint doc deny benches instructions fuzz scripts test

# formatting
fmt:
    cargo fmt --check

# clippy, warnings denied
lint:
    cargo clippy --all-targets -- -D warnings
    cargo clippy --bench instructions -- -D warnings

# all tests; SLUIS_REQUIRE_PEERS=1 makes a missing nginx, curl, promtool or chromium a failure
test:
    cargo test

# one integration test by name, such as `just edge drain::second_term_exits_3_at_once`
edge NAME:
    cargo test --test edge -- {{NAME}}

# the documentation of the code, private parts too
doc:
    cargo doc --no-deps --document-private-items

# dependencies: bans, licences and sources always, advisories where their database is
deny:
    bash tests/deny.sh

# benchmarks compile and run once each, unoptimised
benches:
    cargo test --benches

# instructions that the steps of every request take, against what is recorded; needs valgrind and gungraun-runner
instructions *FILTER:
    bash tests/instructions.sh {{FILTER}}

# every fuzz target for SECONDS each, with a nightly toolchain
fuzz SECONDS="20":
    bash tests/fuzz.sh {{SECONDS}}

# the README's commands and the Dockerfile's stages, for real
scripts:
    bash tests/readme.sh
    bash tests/dockerfile.sh

# what testssl, slowhttptest and h2load say; SLUIS_SCAN_SECONDS=60 SLUIS_SCAN_CONNECTIONS=1000 SLUIS_SCAN_TLS=full for a real attempt
scanners *NAMES:
    bash tests/scanners.sh {{NAMES}}

# how the code looks: lines of the longest files
shape:
    @find src -name '*.rs' | xargs wc -l | sort -n | tail -15
