#!/usr/bin/env bash
# The notice and the status page of a running demo in a real browser: console, origins, accessibility, sizes.
# Needs node, npm and chromium; its two packages are fetched by npm on the first run.
set -euo pipefail
cd "$(dirname "$0")/browser"
for program in node npm chromium; do
    if ! command -v "$program" >/dev/null; then
        [ -z "${SLUIS_REQUIRE_PEERS:-}" ] || { echo "$program is not installed, and SLUIS_REQUIRE_PEERS is set" >&2; exit 1; }
        echo "skipped: the browser test needs $program"
        exit 0
    fi
done
[ -d node_modules ] || npm install --no-audit --no-fund --silent
CHROMIUM="$(command -v chromium)" node run.mjs --base http://127.0.0.1:8080 --host harassment-forum.example --status http://127.0.0.1:9180
