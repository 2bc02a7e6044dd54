#!/usr/bin/env bash
# Prepares .venv for make: setup.sh [--redis] [--chaos] [--image] SET…
# SET: service, infra, local, checks, conformance or dev; schema for the AWS provider's schema, which is no package.
# Installs only what changed since the last time. Speaks on stderr, so that a program's stdout stays its own.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

python=${PYTHON:-python3}
venv=.venv

say() { echo "setup: $*"; }
fail() { say "$*"; exit 1; }

apt_install() { # PACKAGE…: quietly, without starting services; fails if this machine or user cannot
    command -v apt-get >/dev/null || return 1
    local root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    local install=("${root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "$@")
    "${install[@]}" >/dev/null 2>&1 || { "${root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; }
}

require_python() {
    command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11 or newer."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: install Python 3.11 or newer, or name one with PYTHON=…"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "installing python3-venv"
        apt_install python3-venv || fail "python3-venv is missing: install it (Debian: apt-get install python3-venv)."
    fi
}

apt_install_without() { # UNITS PACKAGE…: as apt_install, without these units of systemd running, now or at boot
    local units=() systemd=() status=0
    read -ra units <<<"$1"
    shift
    # Under systemd RUNLEVEL is not heard.
    if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then systemd=(systemctl); fi
    if [ -d /run/systemd/system ] && [ "$(id -u)" != 0 ]; then systemd=(sudo -n systemctl); fi
    [ ${#systemd[@]} = 0 ] || "${systemd[@]}" mask --runtime "${units[@]}" >/dev/null 2>&1 || true
    apt_install "$@" || status=$?
    if [ ${#systemd[@]} != 0 ]; then
        "${systemd[@]}" unmask --runtime "${units[@]}" >/dev/null 2>&1 || true
        "${systemd[@]}" disable "${units[@]}" >/dev/null 2>&1 || true
    fi
    return $status
}

require_redis() {
    command -v redis-server >/dev/null && return
    say "installing redis-server"
    apt_install_without redis-server.service redis-server ||
        fail "redis-server is missing: install Redis 7 (Debian: apt-get install redis-server)."
}

require_chaos() { # what faults of clocks and networks need
    local missing=()
    command -v faketime >/dev/null || missing+=(faketime)
    { command -v iptables && command -v ip; } >/dev/null || missing+=(iptables iproute2)
    [ ${#missing[@]} != 0 ] || return 0
    say "installing ${missing[*]}"
    apt_install "${missing[@]}" || fail "${missing[*]} missing: install them (Debian: apt-get install ${missing[*]})."
}

require_image() { # what builds and runs the image, without a daemon
    local missing=() package
    for package in podman runc catatonit debootstrap; do
        PATH=$PATH:/usr/sbin command -v "$package" >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} != 0 ] || return 0
    say "installing ${missing[*]}"
    local install=(apt_install)
    # A podman that is there already keeps its units as they are.
    command -v podman >/dev/null ||
        install=(apt_install_without "podman.service podman.socket podman-restart.service podman-auto-update.timer")
    "${install[@]}" "${missing[@]}" ||
        fail "${missing[*]} missing: install them (Debian: apt-get install ${missing[*]})."
}

install() { # SET: its locked requirements, unless they are there
    local lock=requirements/$1.txt stamp=$venv/installed-$1
    [ -f "$lock" ] || fail "there is no $lock: choose service, infra, local, checks, schema, conformance or dev."
    cmp -s "$lock" "$stamp" && return
    say "installing $lock"
    # Byte code comes with the first import: compiling all of pulumi_aws takes minutes.
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-compile --require-hashes -r "$lock" ||
        fail "pip could not install $lock: see its message above."
    cp "$lock" "$stamp"
}

extract_schema() { # from a wheel of 70 MB, of which 3 MB are kept and nothing is installed
    local lock=requirements/schema.txt stamp=$venv/installed-schema schema=$venv/aws-provider-schema.json wheels
    if [ -f "$schema" ] && cat "$lock" scripts/schema/__main__.py | cmp -s - "$stamp"; then return; fi
    say "fetching the AWS provider's schema"
    wheels=$(mktemp -d)
    "$venv/bin/python" -m pip download -qq --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --dest "$wheels" -r "$lock" || fail "pip could not fetch $lock: see its message above."
    "$venv/bin/python" -m scripts.schema "$wheels"/*.whl "$schema" ||
        fail "the AWS provider's schema could not be read: see the message above."
    rm -r "$wheels"
    cat "$lock" scripts/schema/__main__.py >"$stamp"
}

# Two makes at once take turns.
exec 9>.setup.lock
if command -v flock >/dev/null; then flock 9; fi

if [ "${1:-}" = --redis ]; then
    require_redis
    shift
fi
if [ "${1:-}" = --chaos ]; then
    require_chaos
    shift
fi
if [ "${1:-}" = --image ]; then
    require_image
    shift
fi
if ! "$venv/bin/python" -c '' 2>/dev/null; then
    require_python
    say "creating $venv"
    "$python" -m venv --clear "$venv" || fail "$python could not create $venv."
fi
for set in "$@"; do
    if [ "$set" = schema ]; then extract_schema; else install "$set"; fi
done
