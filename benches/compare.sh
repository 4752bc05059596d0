#!/usr/bin/env bash
# CPU time a request of sluis and nginx with equal work, side by side on one machine.
#
#   benches/compare.sh [NAME=BINARY]...       default: sluis=target/release/sluis
#   ROUNDS=8 SECONDS_EACH=2 CONNECTIONS=64 NAMES=100000 benches/compare.sh before=old/sluis after=target/release/sluis
#
# One worker of each proxy on core 0; an origin (nginx, 1 KiB) and the load (wrk) on core 1. Rounds are interleaved, so that
# what else the machine does hits all alike; the figure is the proxy's own CPU time (all threads, from schedstat) by the
# requests that wrk counted, the ratio is taken within a round, and medians are printed with their spread. Answers are checked
# before anything is measured: status, body, header edits. Nothing here measures latency or throughput.
set -euo pipefail
rounds=${ROUNDS:-8} seconds=${SECONDS_EACH:-2} connections=${CONNECTIONS:-64} names=${NAMES:-100000}
folder=$(mktemp -d) pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$folder"' EXIT
here=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- "sluis=$here/target/release/sluis"
browser=(-H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    -H 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' -H 'Accept-Language: en-US,en;q=0.5')
pass=pass.shop.example block=www.name-777.blocked.example port=18300

awk -v n="$names" 'BEGIN { for (i = 0; i < n; i++) print "name-" i ".blocked.example" }' >"$folder/feed.txt"
awk '{ print "." $0 " 1;" }' "$folder/feed.txt" >"$folder/feed.map"
head -c 1024 /dev/zero | tr '\0' x >"$folder/index.html"

sluis_config() { # PORT
    cat <<CONFIG
[server]
name = "edge-1"
workers = 1
[operator]
name = "Example Edge"
url = "https://edge.example/blocking"
contact = "mailto:abuse@edge.example"
[listener.http]
address = "127.0.0.1:$1"
[admin]
address = "127.0.0.1:$(($1 + 1000))"
[limits]
requests_per_connection = 1000000000
[upstream.origin]
servers = ["127.0.0.1:$origin"]
[[route]]
upstream = "origin"
[blocklist.source.feed]
path = "feed.txt"
format = "domains"
scope = "subtree"
[blocklist.source.feed.decision]
id = "feed"
basis = "security"
decided_by = "abuse desk"
decided_at = 2026-11-01
category = "phishing"
summary.en = "This site is on a list of phishing sites: it imitates another one to steal passwords or money."
CONFIG
}

nginx_common() { # NAME
    cat <<CONFIG
daemon off; master_process off; pid $folder/$1.pid; error_log stderr crit; worker_processes 1;
worker_rlimit_nofile 20000;
events { worker_connections 10000; }
CONFIG
}

nginx_origin() {
    nginx_common origin
    cat <<CONFIG
http { access_log off; default_type text/html; keepalive_requests 1000000000; open_file_cache max=10;
server { listen 127.0.0.1:$origin backlog=1024; root $folder; } }
CONFIG
}

nginx_proxy() { # PORT BYTES-OF-NOTICE
    nginx_common nginx
    cat <<CONFIG
http { access_log off; default_type text/html; keepalive_requests 1000000000; server_tokens off;
client_body_temp_path $folder/b; proxy_temp_path $folder/p; fastcgi_temp_path $folder/f; uwsgi_temp_path $folder/u; scgi_temp_path $folder/s;
map_hash_max_size 2097152; map_hash_bucket_size 128;
map \$host \$blocked { hostnames; default 0; include $folder/feed.map; }
map \$http_via \$chain { "" "1.1 edge-1"; default "\$http_via, 1.1 edge-1"; }
upstream origin { server 127.0.0.1:$origin; keepalive 64; keepalive_requests 1000000000; }
server { listen 127.0.0.1:$1 backlog=1024;
if (\$blocked) { return 403 "$(head -c "$2" /dev/zero | tr '\0' x)"; }
location / { proxy_pass http://origin; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr;
proxy_set_header X-Forwarded-Proto \$scheme; proxy_set_header X-Forwarded-Host \$host;
proxy_set_header Forwarded ""; proxy_set_header X-Request-Id \$request_id; proxy_set_header Via \$chain;
add_header Via "1.1 edge-1"; add_header X-Request-Id \$request_id; }
add_header Content-Language en always; add_header Vary "Accept, Accept-Language" always;
add_header Cache-Control no-store always; add_header Sluis-Decision feed always;
add_header Proxy-Status "edge-1; error=http_request_denied" always; add_header X-Robots-Tag noindex always;
add_header Content-Security-Policy "default-src 'none'; style-src 'sha256-0000000000000000000000000000000000000000000='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" always;
add_header X-Content-Type-Options nosniff always; add_header Referrer-Policy no-referrer always; } }
CONFIG
}

start() { # CORE COMMAND...
    local core=$1
    shift
    taskset -c "$core" "$@" 2>>"$folder/log" >&2 &
    pids+=($!)
}

fetch() { curl -s -D "$folder/head" -o "$folder/body" -w '%{http_code}' "${browser[@]}" -H "Host: $2" "http://127.0.0.1:$1/"; }

await() { # PORT
    for _ in $(seq 200); do
        fetch "$1" "$pass" >"$folder/status" 2>/dev/null && grep -q 200 "$folder/status" && return
        sleep 0.05
    done
    cat "$folder/log" >&2
    exit 1
}

check() { # WHAT COMMAND...
    "${@:2}" >/dev/null || { echo "port $port: $1" >&2 && exit 1; }
}

verify() { # PORT
    check 'not forwarded' [ "$(fetch "$1" "$pass")" = 200 ]
    check 'another body' cmp "$folder/body" "$folder/index.html"
    check 'no Via' grep -i '^via: 1.1 edge-1' "$folder/head"
    check 'no request id' grep -i '^x-request-id: [0-9a-f]\{32\}' "$folder/head"
    check 'not blocked' [ "$(fetch "$1" "$block")" = 403 ]
    check 'no decision' grep -i '^sluis-decision: feed' "$folder/head"
}

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

measure() { # PID PORT HOST: microseconds a request
    local before after requests
    before=$(cpu_ns "$1")
    taskset -c 1 wrk -t1 -c"$connections" -d"$seconds" "${browser[@]}" -H "Host: $3" "http://127.0.0.1:$2/" >"$folder/wrk"
    after=$(cpu_ns "$1")
    requests=$(awk '/requests in/ { print $1 }' "$folder/wrk")
    if grep -q 'Socket errors' "$folder/wrk" || { [ "$3" = "$pass" ] && grep -q 'Non-2xx' "$folder/wrk"; }; then
        echo "port $2: errors" >&2 && cat "$folder/wrk" >&2 && exit 1
    fi
    awk -v ns=$((after - before)) -v n="$requests" 'BEGIN { printf "%.3f", ns / n / 1000 }'
}

origin=$port
nginx_origin >"$folder/origin.conf"
start 1 nginx -e stderr -p "$folder" -c "$folder/origin.conf"
labels=() ports=() processes=()
for entry in "$@"; do
    port=$((port + 1))
    sluis_config "$port" >"$folder/$port.toml"
    (cd "$folder" && mkdir "$port" && ln feed.txt "$port/feed.txt" && mv "$port.toml" "$port/sluis.toml")
    start 0 "${entry#*=}" serve --config "$folder/$port/sluis.toml"
    labels+=("${entry%%=*}") ports+=("$port") processes+=("${pids[-1]}")
    await "$port"
    fetch "$port" "$block" >/dev/null
    notice=$(wc -c <"$folder/body")
done
port=$((port + 1))
nginx_proxy "$port" "$notice" >"$folder/nginx.conf"
start 0 nginx -e stderr -p "$folder" -c "$folder/nginx.conf"
labels+=(nginx) ports+=("$port") processes+=("${pids[-1]}")
await "$port"
for port in "${ports[@]}"; do verify "$port"; done
echo "$(nginx -v 2>&1 | cut -d' ' -f3), $names names, notice of $notice bytes, $connections connections, $rounds rounds of $seconds s"

for round in $(seq "$rounds"); do
    for host in "$pass" "$block"; do
        for at in "${!labels[@]}"; do
            at=$(((at + round) % ${#labels[@]}))
            sample=$(measure "${processes[$at]}" "${ports[$at]}" "$host")
            echo "$host $round ${labels[$at]} $sample"
        done
    done
done >"$folder/samples"
[ -z "${KEEP:-}" ] || cp "$folder/samples" "$KEEP"

awk '
function median(text, parts, n, i, j, one) {
    n = split(text, parts, " ")
    for (i = 2; i <= n; i++) { one = parts[i] + 0; for (j = i - 1; j > 0 && parts[j] + 0 > one; j--) parts[j + 1] = parts[j]; parts[j + 1] = one }
    low = parts[1]; high = parts[n]; return (parts[int((n + 1) / 2)] + parts[int(n / 2) + 1]) / 2 }
{ value[$1, $2, $3] = $4; all[$1 " " $3] = all[$1 " " $3] " " $4; hosts[$1]; rounds[$2]; if (!($3 in seen)) { seen[$3]; order[++count] = $3 } }
END { printf "%-12s %-14s %9s %17s %10s %17s\n", "what", "proxy", "us", "(least - most)", "of nginx", "(least - most)"
    for (host in hosts) { what = host ~ /blocked/ ? "blocked" : "forwarded"
        for (i = 1; i <= count; i++) { name = order[i]; ratios = ""
            us = median(all[host " " name]); spread = sprintf("(%.2f - %.2f)", low, high)
            for (round in rounds) ratios = ratios " " value[host, round, name] / value[host, round, "nginx"]
            printf "%-12s %-14s %9.2f %17s", what, name, us, spread
            ratio = median(ratios); printf " %10.3f %17s\n", ratio, sprintf("(%.3f - %.3f)", low, high) } } }' "$folder/samples"
