#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No global symbol of ours may exist in a library we link: the linker would silently take ours for theirs.
# Meant so: what mbedTLS lets an application replace (sfu/transport/dtls_curves.h).
meant='mbedtls_ecdh_gen_public mbedtls_ecdh_compute_shared'
# symbols.sh LIB_DIR PROGRAM...   (libraries of ours, programs whose shared libraries are checked)
set -u
libdir=$1
shift
ours=$(mktemp)
theirs=$(mktemp)
trap 'rm -f "$ours" "$theirs"' EXIT
nm -g --defined-only "$libdir"/*.a 2>/dev/null | awk 'NF == 3 && $2 ~ /[TDBRVW]/ { print $3 }' | sort -u |
    grep -vxF "$(echo "$meant" | tr ' ' '\n')" >"$ours"
for p in "$@"; do
    ldd "$p" | awk '$3 ~ /^\// { print $3 }'
done | sort -u | while read -r so; do
    nm -D --defined-only "$so" | awk 'NF == 3 && $2 ~ /[TDBRVW]/ { sub(/@.*/, "", $3); print $3 }'
done | sort -u >"$theirs"
n=$(wc -l <"$ours")
hits=$(comm -12 "$ours" "$theirs")
if [ -n "$hits" ]; then
    echo "$hits" | sed 's/$/: also defined by a linked library: rename ours/'
fi
echo "symbols: $n of ours against $(wc -l <"$theirs") of the linked libraries, $(echo "$hits" | grep -c .) errors"
[ -z "$hits" ] && [ "$n" -gt 0 ]
