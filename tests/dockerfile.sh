#!/usr/bin/env bash
# The Dockerfile without Docker: does what its stages do, by hand, and starts the result as its user with a root
# file system that cannot be written and holds nothing but the program and its libraries.
# What this does not show: that the base images exist and hold what is said of them.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "dockerfile: $*"; }
instruction() { sed -n "s/^$1 //p" Dockerfile | tail -n 1; }

# The build stage, on nothing but the files that it copies; what is built of dependencies is shared with this folder.
stage="$(mktemp -d)"
root="$(mktemp -d)"
pid=""
finish() {
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid"; fi
    rm -rf "$stage" "$root" "$root.log"
}
trap finish EXIT
sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' Dockerfile | tr ' ' '\n' | while read -r source; do
    mkdir -p "$stage/$(dirname "$source")"
    cp -r "$source" "$stage/$source"
done
build="$(grep -o 'cargo build .*' Dockerfile)"
say "$build"
target="$PWD/target"
(cd "$stage" && CARGO_TARGET_DIR="$target" $build)

[ "$(instruction USER)" != "root" ] && [ -n "$(instruction USER)" ] || { say "runs as root" >&2; exit 1; }
[ "$(instruction STOPSIGNAL)" = "SIGTERM" ] || { say "is not stopped by SIGTERM" >&2; exit 1; }
grep -q '^HEALTHCHECK.*healthcheck' Dockerfile || { say "has no health check" >&2; exit 1; }

if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
    [ -z "${SLUIS_REQUIRE_PEERS:-}" ] || { say "needs root and mount namespaces" >&2; exit 1; }
    say "skipped: the run stage needs root and mount namespaces"
    exit 0
fi

# The run stage: only the program, what it links to, the CA roots, and a configuration, all read-only.
mkdir -p "$root"/{usr/bin,etc/sluis,etc/ssl,proc,dev}
cp target/release/sluis "$root/usr/bin/sluis"
ldd target/release/sluis | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
if [ -d /etc/ssl/certs ]; then cp -rL /etc/ssl/certs "$root/etc/ssl/certs" 2>/dev/null || true; fi
http="$(shuf -i 20000-30000 -n 1)"
admin=$((http + 1))
cat >"$root/etc/sluis/sluis.toml" <<CONFIG
[operator]
name = "Example Edge"
contact = "mailto:abuse@edge.example"
[listener.http]
address = "127.0.0.1:$http"
[admin]
address = "127.0.0.1:$admin"
[blocklist.source.decisions]
path = "blocklist.toml"
[upstream.origin]
servers = ["127.0.0.1:9"]
[[route]]
upstream = "origin"
CONFIG
cat >"$root/etc/sluis/blocklist.toml" <<'RECORDS'
[[decision]]
id = "in-a-container"
hosts = [".blocked.example"]
basis = "policy"
decided_by = "test"
decided_at = 2026-01-01
RECORDS
chmod -R a+rX "$root"

inside() { # becomes a command that runs as the Dockerfile's user in the read-only root; call it in a subshell
    exec unshare --mount --propagation private sh -c '
        mount --bind "$1" "$1" && mount --bind /proc "$1/proc" && mount --bind /dev "$1/dev"
        mount -o remount,bind,ro "$1"
        root="$1"; shift
        exec chroot --userspec="$USERSPEC" "$root" "$@"' sh "$root" "$@"
}
USERSPEC="$(instruction USER)"
export USERSPEC
(inside /usr/bin/sluis serve --config /etc/sluis/sluis.toml) 2>"$root.log" &
pid=$!
for _ in $(seq 1 100); do
    (inside /usr/bin/sluis healthcheck --config /etc/sluis/sluis.toml) >/dev/null 2>&1 && break
    kill -0 "$pid" 2>/dev/null || { cat "$root.log" >&2; exit 1; }
    sleep 0.1
done
(inside /usr/bin/sluis healthcheck --config /etc/sluis/sluis.toml)
say "healthy as user $USERSPEC on a read-only root"
curl -s -H 'Host: blocked.example' -H 'Accept: application/json' "http://127.0.0.1:$http/" | grep -q in-a-container
say "blocks"
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
pid=""
rm -f "$root.log"
[ "$status" -eq 0 ] || { say "ended with $status after TERM" >&2; exit 1; }
say "TERM stops it, exit 0"
