#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Replays each fuzz target's corpus: run_fuzz_corpus.sh MODE program...
# The corpus of fuzz_X is tests/fuzz/corpus/X; a target without one fails.
set -u
mode=$1
shift
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$@"; do
    name=$(basename "$t")
    corpus=tests/fuzz/corpus/${name#fuzz_}
    if [ ! -d "$corpus" ]; then
        echo "FAIL $name has no corpus: put at least one input into $corpus/"
        failed=$((failed + 1))
        continue
    fi
    if timeout -k 5 "${TEST_TIMEOUT:-120}" "$t" "$corpus" >"$log" 2>&1; then
        printf 'ok   %-28s %s [%s]\n' "$name" "$(tail -1 "$log")" "$mode"
        passed=$((passed + 1))
    else
        echo "FAIL $name [$mode]; run it with: $t $corpus"
        tail -c 8000 "$log"
        failed=$((failed + 1))
    fi
done
[ -n "${RESULTS:-}" ] && echo "$passed $failed" >>"$RESULTS"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
