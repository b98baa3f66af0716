#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs cmocka programs: run_tests.sh MODE program...
# Prints one line a program (the whole output when it fails), then "N passed, N failed" counted in test functions.
# Several run at once (TEST_JOBS, default two for each CPU, one with a sanitizer): most of their time they wait. Those whose
# source has a line "// REALTIME" (media at the pace of a call) run alone afterwards.
# Each program has TEST_TIMEOUT seconds (default 120, with a sanitizer 400: the longest simulations compute for 30 s then,
# and a busy machine may give them a tenth of itself): tests have deadlines of their own, this one only ends a hang.
set -u
# What happens when memory runs out is tested; a sanitizer must not end the program instead.
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"
export TSAN_OPTIONS="allocator_may_return_null=1:${TSAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"

# One program: its text in one piece, its two numbers into a file of its own.
if [ "$1" = --one ]; then
    mode=$2
    dir=$3
    t=$4
    name=$(basename "$t")
    log=$dir/$name.log
    case "$mode" in asan | tsan) limit=400 ;; *) limit=120 ;; esac
    start=$(date +%s%N)
    CMOCKA_MESSAGE_OUTPUT=STDOUT timeout -k 5 "${TEST_TIMEOUT:-$limit}" "$t" >"$log" 2>&1
    rc=$?
    ms=$((($(date +%s%N) - start) / 1000000))
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep '^\[  FAILED  \] [a-z]' "$log" | sort -u | grep -c .)
    if [ $rc -ne 0 ]; then
        # A crash or a time-out leaves no FAILED line of its own.
        [ "$f" -gt 0 ] || f=1
        text="FAIL $name [$mode] exit $rc, ${ms} ms; run it with: $t
$(tail -c 20000 "$log")"
    elif [ "$p" -eq 0 ]; then
        text="FAIL $name [$mode] ran no test"
        f=1
    else
        text=$(printf 'ok   %-28s %3d tests %6d ms [%s]' "$name" "$p" "$ms" "$mode")
    fi
    printf '%s\n' "$text"
    echo "$p $f" >"$dir/$name.count"
    exit 0
fi

mode=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case "$mode" in asan | tsan) each=1 ;; *) each=2 ;; esac
for t in "$@"; do
    list=together
    ! grep -qs '^// REALTIME' "tests/${t##*/tests/}.c" || list=alone
    printf '%s\0' "$t" >>"$dir/$list"
done
for list in together alone; do
    jobs=1
    [ $list = alone ] || jobs=${TEST_JOBS:-$(($(nproc) * each))}
    [ ! -e "$dir/$list" ] || xargs -0 -n 1 -P "$jobs" "$0" --one "$mode" "$dir" <"$dir/$list"
done
# A program without numbers ended together with its shell.
set -- $(cat "$dir"/*.count | awk -v all=$# '{ p += $1; f += $2 } END { print p + 0, f + all - NR }')
[ -n "${RESULTS:-}" ] && echo "$1 $2" >>"$RESULTS"
echo "$1 passed, $2 failed"
[ "$2" -eq 0 ]
