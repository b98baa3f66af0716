#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header of ours compiles alone. headers.sh GEN_DIR
set -u
gen=$1
errors=0
count=0
for h in $(find common sfu jwt-service deploy -name '*.h' | sort); do
    count=$((count + 1))
    if ! echo "#include \"$h\"" | gcc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -I. -isystem "$gen" -fsyntax-only -x c -; then
        echo "$h does not compile alone: let it include what it uses"
        errors=$((errors + 1))
    fi
done
echo "headers: $count headers, $errors errors"
[ $errors -eq 0 ] && [ $count -gt 0 ]
