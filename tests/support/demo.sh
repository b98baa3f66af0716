#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A call on this machine: development homeserver, foci-jwt, foci-sfu and the call page, all on loopback, nothing kept.
# Proves itself with a call between two built-in clients, prints the address to open, and stays up until Ctrl-C. `make demo`
# builds and sets up first.
#   demo.sh BUILD_DIR [--once|--self-check]
#     --once         ends after the self-check with its exit status; its line is the last one
#     --self-check   the same without the page
# With either of them, a program that does not end well (a sanitizer's report) is a failure too.
set -eu
build=${1:?usage: demo.sh BUILD_DIR [--once|--self-check]}
mode=${2:-stay}
root=$(cd "$(dirname "$0")/../.." && pwd)
page=$root/tests/support/demo
dir=$(mktemp -d)
started=

say() { printf 'demo: %s\n' "$*"; }

# Ends what was started here, by its id, newest first.
clean_up() {
    trap - EXIT INT TERM HUP
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $started; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Ends them as above, and tells whether all of them ended well.
stop_all() {
    ended_well=0
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $started; do
        wait "$pid" || ended_well=1
    done
    started=
    [ $ended_well -eq 0 ] || {
        echo 'demo: a program did not end well:'
        tail -n 100 "$dir"/*.log
    }
    return $ended_well
}

# start NAME COMMAND...: output goes to a file that is shown when the program does not come up.
start() {
    name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    started="$! $started"
    last=$!
}

# wait_for NAME EXTENDED_REGEX: until a line of its log matches; prints what is between the first pair of parentheses.
wait_for() {
    for _ in $(seq 200); do
        found=$(sed -nE "s|$2|\\1|p" "$dir/$1.log" | head -1)
        [ -z "$found" ] || {
            echo "$found"
            return 0
        }
        kill -0 "$last" 2>/dev/null || break
        sleep 0.05
    done
    {
        echo "demo: $1 did not come up:"
        cat "$dir/$1.log"
    } >&2
    return 1
}

# The port itself if nobody listens on it, else 0: "any".
free_or_any() {
    if grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") [0-9A-F:]* 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
        echo 0
    else
        echo "$1"
    fi
}

# foci-jwt takes no port 0: the next free one.
next_free() {
    port=$1
    while [ "$(free_or_any "$port")" = 0 ]; do
        port=$((port + 1))
    done
    echo "$port"
}

udp_free_or_any() {
    for port in "$1" $(($1 + 1)); do
        if grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$port") " /proc/net/udp /proc/net/udp6 2>/dev/null; then
            echo 0
            return
        fi
    done
    echo "$1"
}

secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')

start homeserver "$build/dev_homeserver" --port "$(free_or_any 8008)"
homeserver=$(wait_for homeserver '.* on (http://.*)')

jwt_port=$(next_free 8080)
LIVEKIT_KEYS="demo: $secret" start sfu "$build/foci-sfu" --dev --port "$(free_or_any 7880)" \
    --udp-port "$(udp_free_or_any 7882)" --workers 2 --auth-service "http://127.0.0.1:$jwt_port" --log-format json
sfu_port=$(wait_for sfu '.*"what":"signalling".*"port":([0-9]+).*')
wait_for sfu '.*"(service.ready)".*' >/dev/null

LIVEKIT_KEY=demo LIVEKIT_SECRET=$secret start jwt "$build/foci-jwt" --dev --bind "127.0.0.1:$jwt_port" \
    --livekit-url "ws://127.0.0.1:$sfu_port" --openid-url-overrides "localhost=$homeserver" --log-format json
wait_for jwt '.*"(service.listening)".*' >/dev/null
service=http://127.0.0.1:$jwt_port

address=none
if [ "$mode" != --self-check ]; then
    start page "$build/demo_server" --port "$(free_or_any 8090)" --dir "$page" --homeserver "$homeserver" \
        --service "$service"
    address=$(wait_for page '.* on (http://.*)')
fi

say "homeserver $homeserver, foci-jwt $service, foci-sfu ws://127.0.0.1:$sfu_port, page $address"
say 'self-check: a call between two built-in clients'
status=0
"$build/test_client" --homeserver "$homeserver" --service "$service" --room '!self-check:localhost' --seconds 2 \
    >"$dir/check" 2>&1 || status=$?
[ "$status" -eq 0 ] || tail -n 40 "$dir/sfu.log" "$dir/jwt.log"
if [ "$mode" != stay ]; then
    stop_all || [ "$status" -ne 0 ] || status=1
fi
cat "$dir/check"
if [ "$mode" != stay ] || [ "$status" -ne 0 ]; then
    exit "$status"
fi
echo
say "open $address in two windows and join; Ctrl-C ends it"
# Until a signal, or until one of the programs ends, which none should.
while :; do
    for pid in $started; do
        kill -0 "$pid" 2>/dev/null || {
            say 'one of the programs ended:'
            tail -n 5 "$dir"/*.log
            exit 1
        }
    done
    sleep 1
done
