#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks compose.yml, Dockerfiles and proxy configuration: run.sh BUILD_DIR (with the two services, MODE=release)
# Brings podman-compose from PyPI into a Python environment, and Caddy from Debian's package, which is only unpacked: installed,
# it would start a server.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${1:?usage: run.sh BUILD_DIR}
shift
venv=$root/build/deploy-venv
caddy=$root/build/caddy/usr/bin/caddy

if [ ! -x "$caddy" ]; then
    echo 'deploy checks set-up: Caddy, unpacked into build/caddy'
    mkdir -p "$root/build/caddy"
    cd "$root/build/caddy"
    apt-get -qq download caddy 2>/dev/null || {
        if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi
        apt-get -qq download caddy
    }
    dpkg -x caddy_*.deb .
    rm caddy_*.deb
    cd "$root"
fi
sum=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$sum" ]; then
    echo 'deploy checks set-up: podman-compose from PyPI'
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$here/requirements.txt"
    printf '%s\n' "$sum" >"$venv/stamp"
fi
exec "$venv/bin/python" "$here/test_deploy.py" "$build" "$caddy" "$@"
