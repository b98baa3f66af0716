#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All rules of the house; needs the programs of MODE=debug for the symbol check. run.sh BUILD_DIR
set -u
build=${1:-build}
failed=0
passed=0
run() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        echo "FAIL lint $name; run it with: $*"
        failed=$((failed + 1))
    fi
}
run layers python3 tests/lint/layers.py
run banned python3 tests/lint/banned.py
run sizes python3 tests/lint/sizes.py
run tests_exist sh tests/lint/tests_exist.sh
run conformance python3 tests/lint/conformance.py
run headers sh tests/lint/headers.sh "$build/debug/gen"
run symbols sh tests/lint/symbols.sh "$build/debug/lib" "$build/debug/foci-sfu" "$build/debug/foci-jwt" "$build/debug/focictl"
run readme python3 tests/lint/readme.py "$build/debug/foci-sfu" "$build/debug/foci-jwt"
[ -n "${RESULTS:-}" ] && echo "$passed $failed" >>"$RESULTS"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
