#!/usr/bin/env bash
# Does what README.md says: starts the demo on its own ports, runs every command that the demo prints and checks what
# it answers, and stops it by TERM.
set -euo pipefail
cd "$(dirname "$0")/.."

for shown in 'cargo run --release -- demo' 'cargo test' \
    "curl -i -H 'Host: welcome.example' http://127.0.0.1:8080/" \
    "curl -i -H 'Host: harassment-forum.example' http://127.0.0.1:8080/" \
    'curl -s http://127.0.0.1:9180/metrics'; do
    grep -qF -- "$shown" README.md || { echo "README.md no longer shows: $shown" >&2; exit 1; }
done

work="$(mktemp -d)"
demo=""
finish() {
    if [ -n "$demo" ] && kill -0 "$demo" 2>/dev/null; then kill -KILL "$demo"; fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    for file in answer errors demo log; do echo "--- $file"; cat "$work/$file" 2>/dev/null || true; done >&2
    exit 1
}

# What each step must answer, by its title in src/cli/demo/instructions.rs.
expected() {
    case "$1" in
        "a host that nobody decided about is forwarded") echo '^HTTP/1.1 200' ;;
        "a blocked host gets a notice"*) echo '^HTTP/1.1 (403|451)' ;;
        "the same for programs") echo 'decision_id' ;;
        "the same as plain text, in Dutch") echo '^[Cc]ontent-[Ll]anguage: nl' ;;
        "the same over HTTPS and HTTP/2") echo '^HTTP/2 (403|451)' ;;
        "HTTPS and HTTP/2, forwarded") echo '^HTTP/2 200' ;;
        "block a host while it runs"* | "change the decision"*) echo '' ;;
        "the next request is refused") echo '^[Ss]luis-[Dd]ecision: tried-it' ;;
        "and the first one is forwarded again") echo '^HTTP/1.1 200' ;;
        "what would happen to a host"*) echo 'pass|block' ;;
        "read the list now"*) echo '^HTTP/1.1 200' ;;
        "metrics for Prometheus") echo '^sluis_blocked_total\{.*\} [1-9]' ;;
        "the status page"*) echo '</html>' ;;
        *) fail "the demo shows a step that is not checked here: $1" ;;
    esac
}

cargo build --release --locked
# exec, so that the signal at the end reaches the program and not cargo's wrapper.
(exec cargo run --release --locked -- demo) >"$work/demo" 2>"$work/log" &
demo=$!
for _ in $(seq 1 300); do
    grep -q 'Try, in another terminal' "$work/demo" && break
    kill -0 "$demo" 2>/dev/null || fail "the demo ended"
    sleep 0.1
done

title="" steps=0
while IFS= read -r line; do
    case "$line" in
        "# "*) title="${line#\# }" ;;
        ?*)
            [ -n "$title" ] || continue
            pattern="$(expected "$title")"
            bash -c "$line" >"$work/answer" 2>"$work/errors" </dev/null || fail "$title: $line"
            grep -qE -- "$pattern" "$work/answer" || [ -z "$pattern" ] || fail "$title: no /$pattern/ from: $line"
            # An edit is in force within a second.
            if [ -z "$pattern" ]; then sleep 1; fi
            echo "ok: $title"
            title="" steps=$((steps + 1))
            ;;
    esac
done <"$work/demo"
[ "$steps" -ge 13 ] || fail "the demo shows $steps steps only"

bash tests/browser.sh

kill -TERM "$demo"
status=0
wait "$demo" || status=$?
demo=""
[ "$status" -eq 0 ] || fail "the demo ended with $status after TERM"
echo "ok: TERM stops it, exit 0"
