#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs cmocka programs: run_tests.sh MODE program...
# Prints one line a program (the whole output when it fails), then "N passed, N failed" counted in test functions.
# Each program has TEST_TIMEOUT seconds (default 120): tests have deadlines of their own, this one only ends a hang.
set -u
# What happens when memory runs out is tested; a sanitizer must not end the program instead.
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"
export TSAN_OPTIONS="allocator_may_return_null=1:${TSAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
mode=$1
shift
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$@"; do
    start=$(date +%s%N)
    CMOCKA_MESSAGE_OUTPUT=STDOUT timeout -k 5 "${TEST_TIMEOUT:-120}" "$t" >"$log" 2>&1
    rc=$?
    ms=$((($(date +%s%N) - start) / 1000000))
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep '^\[  FAILED  \] [a-z]' "$log" | sort -u | grep -c .)
    if [ $rc -ne 0 ]; then
        # A crash or a time-out leaves no FAILED line of its own.
        [ "$f" -gt 0 ] || f=1
        echo "FAIL $(basename "$t") [$mode] exit $rc, ${ms} ms; run it with: $t"
        tail -c 20000 "$log"
    elif [ "$p" -eq 0 ]; then
        echo "FAIL $(basename "$t") [$mode] ran no test"
        f=1
    else
        printf 'ok   %-28s %3d tests %6d ms [%s]\n' "$(basename "$t")" "$p" "$ms" "$mode"
    fi
    passed=$((passed + p))
    failed=$((failed + f))
done
[ -n "${RESULTS:-}" ] && echo "$passed $failed" >>"$RESULTS"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
