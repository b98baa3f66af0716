#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing: setup.sh SET...
#   build   compilers and libraries of both services         demo   what `make demo` needs on top
#   check   what the tests need on top (browsers and Synapse: tests/e2e/run.sh brings them)
#   fuzz    clang with libFuzzer                              format clang-format
# Says what it installs and does nothing when all is there. Installs as root or with sudo; sets that are named by no target
# are never pulled in.
set -eu

build='gcc libc6-dev make pkg-config protobuf-c-compiler libmbedtls-dev libsrtp2-dev libusrsctp-dev libwslay-dev
libmicrohttpd-dev libjwt-dev libjansson-dev libprotobuf-c-dev libuv1-dev libc-ares-dev uthash-dev libconfig-dev
libcurl4-openssl-dev libssl-dev libhiredis-dev zlib1g-dev libyaml-dev'
# ipsec-mb is x86 code; elsewhere libcrypto does its work.
[ "$(uname -m)" != x86_64 ] || build="$build libipsec-mb-dev"

# Programs count as there when they can be called, wherever they are from; libraries when dpkg knows them.
tool_of() {
    case "$1" in
    gcc | make | curl | cppcheck | redis-server) echo "$1" ;;
    pkg-config) echo pkg-config ;;
    protobuf-c-compiler) echo protoc-c ;;
    nodejs) echo node ;;
    npm) echo npm ;;
    python3) echo python3 ;;
    clang | clang-14) echo clang-14 ;;
    clang-format-14) echo clang-format-14 ;;
    ca-certificates) echo update-ca-certificates ;;
    esac
}

packages_of() {
    case "$1" in
    build) echo "$build" ;;
    demo) echo nodejs npm ca-certificates ;;
    check) echo redis-server libcmocka-dev python3 python3-venv ca-certificates openssl cppcheck clang-format-14 ;;
    bench) echo python3 ;;
    fuzz) echo clang-14 libclang-rt-14-dev llvm-14 ;;
    format) echo clang-format-14 ;;
    *)
        echo "setup.sh: no set is named $1" >&2
        exit 2
        ;;
    esac
}

is_there() {
    tool=$(tool_of "$1")
    if [ -n "$tool" ]; then
        command -v "$tool" >/dev/null
    elif [ "$1" = python3-venv ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null
    else
        dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "set-up: this needs root and there is no sudo; run as root: $*" >&2
        exit 1
    fi
}

missing=
for set in "$@"; do
    for package in $(packages_of "$set"); do
        is_there "$package" || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "set-up: not a Debian system; install the equivalents of:$missing" >&2
    exit 1
fi
echo "set-up: apt-get install$missing"
as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install \
    --no-install-recommends $missing >/dev/null
echo 'set-up: done'
