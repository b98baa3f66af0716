#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets up what the end-to-end runs need (Debian packages, npm packages, a Python environment with
# Synapse and LiveKit's packages, a client made of Pion), then runs them. A second run finds everything in place and starts at once.
#   tests/e2e/run.sh [--only PATTERN] [--list] [--build-dir DIR] [--out FILE] [--setup-only]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/build/e2e-venv"
# playwright-core, puppeteer-core and esbuild ask for this; Debian 12 ships 18.
least_node=18
# Pion's client asks for Go 1.23: the newest for Debian 12, whose own is 1.19.
least_go_minor=23
backported_go=/usr/lib/go-1.23/bin/go

say() { printf 'e2e set-up: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

node_is_good() {
    command -v node >/dev/null &&
        [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$least_node" ]
}

# Prints the first Go that is new enough; fails when there is none.
find_go() {
    for go in "${E2E_GO:-}" "$(command -v go || true)" "$backported_go"; do
        [ -n "$go" ] && [ -x "$go" ] || continue
        minor=$(cd / && GOTOOLCHAIN=local "$go" env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
        [ "${minor:-0}" -ge "$least_go_minor" ] || continue
        echo "$go"
        return 0
    done
    return 1
}

go_package() {
    if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
        echo golang-1.23-go
    else
        echo golang-go
    fi
}

# Debian 12 has that Go among its backports. Nothing else is taken from there.
add_backports() {
    apt-cache policy golang-1.23-go | grep -q 'Candidate: [0-9]' && return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Label: Debian' | head -n 1)
    as_root tee /etc/apt/sources.list.d/foci-e2e-backports.sources >/dev/null <<END
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    as_root tee /etc/apt/preferences.d/foci-e2e-backports >/dev/null <<END
Package: *
Pin: release n=bookworm-backports
Pin-Priority: -1

Package: golang-1.23-go golang-1.23-src
Pin: release n=bookworm-backports
Pin-Priority: 500
END
    as_root apt-get update -qq
}

missing_packages() {
    [ -n "${E2E_CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || echo chromium
    [ -n "${E2E_FIREFOX:-}" ] || [ -x /usr/bin/firefox-esr ] || echo firefox-esr
    node_is_good || echo nodejs
    command -v npm >/dev/null || echo npm
    command -v redis-server >/dev/null || echo redis-server
    [ -n "${E2E_PYTHON:-}" ] || python3 -c 'import ensurepip, venv' 2>/dev/null ||
        echo python3 python3-venv
    find_go >/dev/null || go_package
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    say "apt-get install $packages"
    as_root apt-get update -qq
    case $packages in *golang-1.23-go*) add_backports ;; esac
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

install_python() {
    say 'Synapse and livekit from PyPI'
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/requirements.txt"
}

# Takes a moment when nothing has changed. No other toolchain is fetched, and no other module than
# those of go.sum.
build_pion() {
    (cd "$here/pion" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' \
        "$(find_go)" build -o "$root/build/e2e-pion" .)
}

mkdir -p "$root/build"
install_packages
[ -d "$here/node_modules" ] || rm -f "$root/build/e2e-npm.stamp"
once_for "$root/build/e2e-npm.stamp" "$here/package-lock.json" install_npm
if [ -z "${E2E_PYTHON:-}" ]; then
    [ -x "$venv/bin/python" ] || rm -f "$root/build/e2e-venv.stamp"
    once_for "$root/build/e2e-venv.stamp" "$here/requirements.txt" install_python
fi

build_pion

[ "${1:-}" != --setup-only ] || exit 0
exec node "$here/run.mjs" "$@"
