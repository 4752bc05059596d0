#!/usr/bin/env bash
# What other people's scanners say of the running program: testssl (the TLS of the listener), slowhttptest in its four
# modes (is the edge still there?), h2load while the list and the certificate change.
#
#   bash tests/scanners.sh [testssl|slowhttptest|h2load]...      all three where none is named
#
#   SLUIS_BIN=target/release/sluis     the program; is built (debug) where it is not given
#   SLUIS_SCAN_SECONDS=4               how long each mode of slowhttptest, and h2load, run; 60 for a real attempt
#   SLUIS_SCAN_CONNECTIONS=200         connections of slowhttptest; 1000 for a real attempt
#   SLUIS_SCAN_TLS=short               or "full": everything that testssl tries (some minutes)
#
# A scanner that is not installed is "skipped: ..."; with SLUIS_REQUIRE_PEERS=1 that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SLUIS_SCAN_SECONDS:-4}
connections=${SLUIS_SCAN_CONNECTIONS:-200}
place=$(mktemp -d)
started=()
failures=0

finish() {
    for pid in "${started[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT

say() { printf 'scanners: %s\n' "$*"; }
fail() { say "FAILED: $*"; failures=$((failures + 1)); }

# Whether a program is there; else it says so, or fails where peers are required.
have() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] && return 0
    if [ -n "${SLUIS_REQUIRE_PEERS:-}" ]; then
        fail "$1 is not installed, and SLUIS_REQUIRE_PEERS is set"
    else
        say "skipped: $1 is not installed"
    fi
    return 1
}

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# A root, and a leaf for edge.example that it signs: ECDSA P-256, with the extensions that a public one has.
make_authority() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$place/ca.key"
    openssl req -x509 -new -key "$place/ca.key" -sha256 -days 365 -subj "/CN=Scanners' test root" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$place/ca.pem" 2>/dev/null
}

# Each leaf is written beside the directory first, the key before the certificate, as a good tool does.
make_leaf() {
    local days=90
    openssl ecparam -name prime256v1 -genkey -noout -out "$place/leaf.ec"
    openssl pkcs8 -topk8 -nocrypt -in "$place/leaf.ec" -out "$place/leaf.key"
    openssl req -new -key "$place/leaf.key" -subj "/CN=edge.example" -out "$place/leaf.csr" 2>/dev/null
    printf '%s\n' "subjectAltName=DNS:edge.example,DNS:*.edge.example" "basicConstraints=critical,CA:FALSE" \
        "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" >"$place/leaf.ext"
    openssl x509 -req -in "$place/leaf.csr" -CA "$place/ca.pem" -CAkey "$place/ca.key" -sha256 -days "$days" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$place/leaf.ext" -out "$place/leaf.crt" 2>/dev/null
    mv "$place/leaf.key" "$place/certs/edge.key"
    mv "$place/leaf.crt" "$place/certs/edge.crt"
}

# The block list with one name more, or without it.
write_list() {
    {
        printf '[[decision]]\nid = "policy-1"\nhosts = ["blocked.edge.example"]\nbasis = "policy"\n'
        printf 'decided_by = "desk"\ndecided_at = 2026-01-02\n\n'
        [ "$1" = more ] && printf '[[decision]]\nid = "policy-2"\nhosts = ["other.example"]\nbasis = "policy"\n'
        [ "$1" = more ] && printf 'decided_by = "desk"\ndecided_at = 2026-01-02\n'
        true
    } >"$place/.blocklist.new"
    mv "$place/.blocklist.new" "$place/blocklist.toml"
}

start_origin() {
    local nginx
    nginx=$(command -v nginx || echo /usr/sbin/nginx)
    mkdir -p "$place/www"
    head -c 102400 /dev/zero | tr '\0' 'x' >"$place/www/big.txt"
    echo hello >"$place/www/index.html"
    cat >"$place/nginx.conf" <<NGINX
$([ "$(id -u)" = 0 ] && echo "user root;")
daemon off; pid $place/pid; error_log $place/nginx.log; worker_processes 1; worker_rlimit_nofile 17000;
events { worker_connections 16384; }
http {
    access_log off; keepalive_requests 100000000;
    client_body_temp_path $place/body; proxy_temp_path $place/proxy; fastcgi_temp_path $place/fastcgi;
    uwsgi_temp_path $place/uwsgi; scgi_temp_path $place/scgi;
    add_header Strict-Transport-Security "max-age=31536000" always;
    add_header X-Content-Type-Options nosniff always;
    add_header X-Frame-Options DENY always;
    add_header Content-Security-Policy "default-src 'none'" always;
    add_header Referrer-Policy no-referrer always;
    server { listen 127.0.0.1:$origin backlog=8192; root $place/www; location = /upload { return 200 "ok\n"; } }
}
NGINX
    "$nginx" -p "$place" -e "$place/nginx.log" -c "$place/nginx.conf" &
    started+=($!)
}

start_edge() {
    cat >"$place/sluis.toml" <<EDGE
[server]
name = "edge-1"
workers = 2
[operator]
name = "Scanned Edge"
url = "https://edge.example/blocking"
contact = "mailto:abuse@edge.example"
[listener.http]
address = "127.0.0.1:$http"
[listener.https]
address = "127.0.0.1:$https"
tls.certificates = "certs"
[admin]
address = "127.0.0.1:$admin"
[blocklist.source.decisions]
path = "blocklist.toml"
[upstream.origin]
servers = ["127.0.0.1:$origin"]
[[route]]
upstream = "origin"
EDGE
    "$program" serve --config "$place/sluis.toml" 2>"$place/edge.log" &
    edge=$!
    started+=("$edge")
    for _ in $(seq 100); do
        curl -fs "http://127.0.0.1:$admin/readyz" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    cat "$place/edge.log" >&2
    fail "the edge does not start"
    exit 1
}

metric() { curl -fs "http://127.0.0.1:$admin/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'; }

metric_lines() { curl -fs "http://127.0.0.1:$admin/metrics" | grep -E "$1"; }

# Left out by name: what a test root cannot have (trust, revocation, CAA), and the origin's compression.
not_ours='^(cert_trust|cert_chain_of_trust|cert_revocation|cert_ocsp|cert_crl|OCSP_stapling|cert_mustStaple|DNS_CAArecord|BREACH)'

scan_tls() {
    have testssl || return 0
    local extra=()
    # The cheap half in CI; the whole on request. Trying hundreds of ciphers one by one takes minutes.
    [ "${SLUIS_SCAN_TLS:-short}" = short ] && extra=(--protocols --server-defaults --server-preference --fs)
    (cd "$place" && testssl --warnings off --quiet --color 0 --add-ca "$place/ca.pem" --ip 127.0.0.1 --nodns none \
        --severity LOW --jsonfile "$place/testssl.json" --logfile "$place/testssl.log" \
        "${extra[@]}" "edge.example:$https" </dev/null >"$place/testssl.out" 2>&1) || true
    [ -s "$place/testssl.json" ] || { tail -20 "$place/testssl.out"; fail "testssl said nothing"; return 0; }
    grep -qE 'Done|Service detected|Testing protocols' "$place/testssl.out" || fail "testssl did not get anywhere"
    [ -n "${SLUIS_SCAN_KEEP:-}" ] && cp "$place"/testssl.* "$SLUIS_SCAN_KEEP"
    local found
    found=$(python3 - "$place/testssl.json" "$not_ours" <<'PY'
import json, re, sys
for finding in json.load(open(sys.argv[1])):
    if finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not re.match(sys.argv[2], finding["id"]):
        print(finding["severity"], finding["id"], finding["finding"])
PY
)
    if [ -n "$found" ]; then
        echo "$found"
        fail "testssl found what is of medium severity or worse"
    else
        say "testssl: nothing of medium severity or worse"
    fi
}

# Slow heads, slow bodies, slow readers, ranges. Its own probe asks once a second whether the service answers.
scan_slow() {
    have slowhttptest || return 0
    local mode url
    for mode in H B X R; do
        case "$mode" in
            B) url="http://127.0.0.1:$http/upload" ;;
            X) url="http://127.0.0.1:$http/big.txt" ;;
            *) url="http://127.0.0.1:$http/" ;;
        esac
        local more=()
        [ "$mode" = X ] && more=(-w 10 -y 20 -n 5 -z 32 -k 3)
        slowhttptest "-$mode" -c "$connections" -r 200 -l "$seconds" -i 5 -p 3 "${more[@]}" -g -o "$place/slow-$mode" \
            -u "$url" </dev/null >"$place/slow-$mode.out" 2>&1 || true
        # The table of samples: seconds, closed, pending, connected, and whether the service was there (0 or the count).
        local samples gone
        samples=$(tail -n +2 "$place/slow-$mode.csv" 2>/dev/null | wc -l)
        gone=$(tail -n +2 "$place/slow-$mode.csv" 2>/dev/null | awk -F, '$5 + 0 == 0' | wc -l)
        [ -n "${SLUIS_SCAN_KEEP:-}" ] && cp "$place/slow-$mode."* "$SLUIS_SCAN_KEEP"
        if [ "$samples" -lt 2 ]; then
            tail -5 "$place/slow-$mode.out"
            fail "slowhttptest -$mode said nothing"
        elif [ "$gone" -gt 0 ] || grep -q 'service available: *NO' "$place/slow-$mode.out"; then
            cat "$place/slow-$mode.csv"
            fail "slowhttptest -$mode: not available in $gone of $samples samples"
        else
            say "slowhttptest -$mode: available in all of $samples samples"
        fi
    done
}

# Every request is answered while the list changes each second and the certificate each five.
scan_h2load() {
    have h2load || return 0
    (
        count=0
        while :; do
            count=$((count + 1))
            [ $((count % 2)) = 0 ] && write_list more || write_list less
            [ $((count % 5)) = 0 ] && make_leaf
            sleep 1
        done
    ) &
    local writer=$! said generation
    started+=("$writer")
    generation=$(metric sluis_blocklist_generation)
    said=$(h2load -c 100 -m 100 -D "$seconds" --connect-to="127.0.0.1:$https" "https://edge.example/" </dev/null)
    kill "$writer" 2>/dev/null || true
    echo "$said" | grep -E '^(finished|requests|status codes|TLS|traffic|time for request)' || true
    say "list changes in force: $(($(metric sluis_blocklist_generation) - generation)); certificate changes: $(metric 'sluis_tls_reloads_total{result="applied"}')"
    metric_lines '^sluis_(failed|rejected)_total' | grep -v ' 0$' || true
    echo "$said" | grep -q '0 failed, 0 errored, 0 timeout' || fail "h2load: not every request was answered"
    echo "$said" | grep -qE '[1-9][0-9]* 2xx, 0 3xx, 0 4xx, 0 5xx' || fail "h2load: not every answer was the origin's"
}

for tool in nginx openssl curl python3; do have "$tool" || exit "$((failures > 0))"; done
if [ -z "${SLUIS_BIN:-}" ]; then
    cargo build --quiet
    SLUIS_BIN=target/debug/sluis
fi
program=$(realpath "$SLUIS_BIN")
origin=$(free_port) http=$(free_port) https=$(free_port) admin=$(free_port)
mkdir -p "$place/certs"
make_authority
make_leaf
write_list less
start_origin
start_edge
if [ "$#" = 0 ]; then set -- testssl slowhttptest h2load; fi
for scanner in "$@"; do
    case "$scanner" in
        testssl) scan_tls ;;
        slowhttptest) scan_slow ;;
        h2load) scan_h2load ;;
        *) say "unknown: $scanner" && exit 2 ;;
    esac
done
kill -0 "$edge" 2>/dev/null || fail "the edge has ended"
[ "$(metric sluis_panics_total)" = 0 ] || fail "panics: $(metric sluis_panics_total)"
[ "$failures" = 0 ] && say "all well"
exit "$((failures > 0))"
