#!/usr/bin/env bash
# Does what README.md says: starts the demo on its own ports, runs each command that README shows and checks what it
# answers, edits the blocklist while it runs, and stops it by TERM.
set -euo pipefail
cd "$(dirname "$0")/.."

# The commands that are run here must be the ones that README shows.
shown() {
    grep -qF -- "$1" README.md || { echo "README.md no longer shows: $1" >&2; exit 1; }
}

work="$(mktemp -d)"
demo=""
finish() {
    if [ -n "$demo" ] && kill -0 "$demo" 2>/dev/null; then kill -KILL "$demo"; fi
    rm -rf "$work"
}
trap finish EXIT

expect() { # what, a pattern, then the command
    local what="$1" pattern="$2"
    shift 2
    if ! "$@" >"$work/answer" 2>&1 || ! grep -qE -- "$pattern" "$work/answer"; then
        echo "FAILED: $what: expected /$pattern/ from: $*" >&2
        cat "$work/answer" >&2
        echo "--- the demo said:" >&2
        cat "$work/demo" >&2
        exit 1
    fi
    echo "ok: $what"
}

shown "cargo run --release -- demo"
shown "cargo test"
cargo build --release --locked
# exec, so that the signal at the end reaches the program and not cargo.
(exec cargo run --release --locked -- demo --blocklist "$work/blocklist.toml") >"$work/demo" 2>&1 &
demo=$!
for _ in $(seq 1 300); do
    curl -sf -o /dev/null http://127.0.0.1:9180/readyz && break
    kill -0 "$demo" || { cat "$work/demo" >&2; exit 1; }
    sleep 0.1
done

shown "curl -i -H 'Host: open.example' http://127.0.0.1:8080/"
expect "an open host is forwarded" "^HTTP/1.1 200" curl -si -H 'Host: open.example' http://127.0.0.1:8080/
shown "curl -i -H 'Host: blocked.example' http://127.0.0.1:8080/"
expect "a blocked host gets the notice" "^HTTP/1.1 (403|451)" curl -si -H 'Host: blocked.example' http://127.0.0.1:8080/
expect "the notice names its decision" "^[Ss]luis-[Dd]ecision: " curl -si -H 'Host: blocked.example' http://127.0.0.1:8080/
shown "curl -s http://127.0.0.1:9180/metrics"
expect "blocks are counted" "^sluis_blocked_total\\{.*\\} [1-9]" curl -s http://127.0.0.1:9180/metrics
expect "HTTPS answers too" "^HTTP/(2|1.1) (403|451)" \
    curl -sik --resolve blocked.example:8443:127.0.0.1 https://blocked.example:8443/

bash tests/browser.sh

expect "the host to be added is open" "^HTTP/1.1 200" curl -si -H 'Host: new.example' http://127.0.0.1:8080/
cat >>"$work/blocklist.toml" <<'RECORD'

[[decision]]
id = "my-first-decision"
hosts = ["new.example"]
basis = "policy"
decided_by = "me"
decided_at = 2026-11-25
RECORD
sleep 1
expect "an edit is in force within a second" "my-first-decision" curl -si -H 'Host: new.example' http://127.0.0.1:8080/

kill -TERM "$demo"
status=0
wait "$demo" || status=$?
demo=""
[ "$status" -eq 0 ] || { echo "FAILED: the demo ended with $status after TERM" >&2; cat "$work/demo" >&2; exit 1; }
echo "ok: TERM stops it, exit 0"
