#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything that `make check` runs, one part after the other; a part that fails does not keep the others from running.
# The last line is the sum: "N passed, N failed". Exit status 0 only if nothing failed.
#   check.sh BUILD_DIR [PART...]     parts by name, all without
set -u
build=${1:?usage: check.sh BUILD_DIR [PART...]}
shift
only=" $* "
cd "$(dirname "$0")/../.." || exit 1
# Each test runner adds a line "PASSED FAILED" to this file.
RESULTS=$(mktemp)
export RESULTS
trap 'rm -f "$RESULTS"' EXIT
trap 'exit 130' INT TERM HUP
began=$(date +%s)
summary=

failures() { awk '{ n += $2 } END { print n + 0 }' "$RESULTS"; }

# part NAME COMMAND...; a command that counts nothing is one test itself.
part() {
    name=$1
    shift
    [ "$only" = '  ' ] || case "$only" in *" $name "*) ;; *) return 0 ;; esac
    echo
    echo "== $name: $*"
    lines=$(wc -l <"$RESULTS")
    failed=$(failures)
    start=$(date +%s)
    verdict=ok
    if "$@" </dev/null; then
        [ "$(wc -l <"$RESULTS")" -gt "$lines" ] || echo '1 0' >>"$RESULTS"
    else
        [ "$(failures)" -gt "$failed" ] || echo '0 1' >>"$RESULTS"
    fi
    [ "$(failures)" -eq "$failed" ] || verdict="FAILED, run it alone with: tests/support/check.sh $build $name"
    summary="$summary$(printf '%-14s %5d s  %s' "$name" $(($(date +%s) - start)) "$verdict")
"
}

run_make() {
    make --no-print-directory -k -j"$(nproc)" BUILD="$build" "$@"
}

part build run_make MODE=debug WERROR=1 all tools test-programs
part lint run_make lint
part format run_make format-check
part analyze run_make analyze
part unit run_make MODE=debug WERROR=1 check-unit
part oom run_make MODE=debug WERROR=1 check-oom
part asan-build run_make MODE=asan all tools test-programs fuzz-programs
part asan-unit run_make MODE=asan check-unit
part asan-fuzz run_make MODE=asan fuzz-smoke
part asan-jwt run_make MODE=asan check-jwt
part asan-webhooks run_make MODE=asan check-webhooks
part asan-api run_make MODE=asan check-api
part asan-resume run_make MODE=asan check-resume
part asan-replay run_make MODE=asan check-replay
part asan-hostile run_make MODE=asan check-hostile
part asan-call tests/support/demo.sh "$build/asan" --self-check
part tsan-build run_make MODE=tsan all tools test-programs
part tsan-unit run_make MODE=tsan check-unit
part tsan-call tests/support/demo.sh "$build/tsan" --self-check
part release-build run_make MODE=release WERROR=1 all tools bench-programs
part demo make --no-print-directory BUILD="$build" demo ONCE=1
part deploy tests/deploy/run.sh "$build/release"
part e2e tests/e2e/run.sh --build-dir "$build/release"

echo
printf '%s' "$summary"
printf 'all of it      %5d s\n\n' $(($(date +%s) - began))
awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }' "$RESULTS"
