#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets up what the end-to-end runs need (Debian packages, npm packages, a Python environment with
# Synapse), then runs them. A second run finds everything in place and starts at once.
#   tests/e2e/run.sh [--only PATTERN] [--list] [--build-dir DIR] [--out FILE] [--setup-only]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/build/e2e-venv"
# playwright-core, puppeteer-core and esbuild ask for this; Debian 12 ships 18.
least_node=18

say() { printf 'e2e set-up: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

node_is_good() {
    command -v node >/dev/null &&
        [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$least_node" ]
}

missing_packages() {
    [ -n "${E2E_CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || echo chromium
    [ -n "${E2E_FIREFOX:-}" ] || [ -x /usr/bin/firefox-esr ] || echo firefox-esr
    node_is_good || echo nodejs
    command -v npm >/dev/null || echo npm
    command -v redis-server >/dev/null || echo redis-server
    [ -n "${E2E_PYTHON:-}" ] || python3 -c 'import ensurepip, venv' 2>/dev/null ||
        echo python3 python3-venv
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    say "apt-get install $packages"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

# Whether the stamp file $1 was written for the present content of $2; else writes it after "$3...".
once_for() {
    stamp=$1
    source=$2
    shift 2
    sum=$(sha256sum <"$source")
    [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
    "$@"
    printf '%s\n' "$sum" >"$stamp"
}

install_npm() {
    say 'npm ci'
    (cd "$here" && npm ci --loglevel=error)
}

install_synapse() {
    say 'Synapse from PyPI'
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/requirements.txt"
}

mkdir -p "$root/build"
install_packages
[ -d "$here/node_modules" ] || rm -f "$root/build/e2e-npm.stamp"
once_for "$root/build/e2e-npm.stamp" "$here/package-lock.json" install_npm
if [ -z "${E2E_PYTHON:-}" ]; then
    [ -x "$venv/bin/python" ] || rm -f "$root/build/e2e-venv.stamp"
    once_for "$root/build/e2e-venv.stamp" "$here/requirements.txt" install_synapse
fi

[ "${1:-}" != --setup-only ] || exit 0
exec node "$here/run.mjs" "$@"
