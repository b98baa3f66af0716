#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every module has a unit test: tests/unit/test_<module>.c, or another test that says "// COVERS: module ..." near its top.
set -u
errors=0
count=0
covered=$(sed -n 's,^// COVERS: *,,p' tests/unit/*.c tests/sim/*.c 2>/dev/null | tr ' ' '\n')
for c in $(find common sfu jwt-service deploy -name '*.c' | sort); do
    m=$(basename "$c" .c)
    count=$((count + 1))
    case "$c" in sfu/main.c | jwt-service/main.c | deploy/focictl/main.c) continue ;; esac
    if [ ! -f "tests/unit/test_$m.c" ] && ! echo "$covered" | grep -qx "$m"; then
        echo "$c has no test: write tests/unit/test_$m.c, or name $m in the COVERS line of the test that holds it"
        errors=$((errors + 1))
    fi
done
echo "tests_exist: $count modules, $errors errors"
[ $errors -eq 0 ] && [ $count -gt 0 ]
