# shellcheck shell=bash
# What the scripts share: packages, a Python that is new enough, environments, installing, clocks.

ROOT_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=
# To run containers, and to compile python-prctl: python3-dev, gcc and libcap-dev.
# shellcheck disable=SC2034 # used by those who source this
RUN_PACKAGES=(
    python3 python3-venv python3-dev gcc libcap-dev
    runc busybox-static nftables iproute2 tini ca-certificates
)

say() { printf '%s\n' "$*"; }

heading() { printf '\n== %s\n' "$*"; }

die() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "$1 must run as root: it installs packages and makes containers (try: sudo $1)"
}

# Milliseconds since the epoch.
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# seconds_since START_MS: "1.2".
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf '%s\n' "$package"
    done
}

# Install what is missing; asks the archive for its index only then.
install_packages() {
    local missing policy=/usr/sbin/policy-rc.d status=0
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        die "no apt-get here: install these by hand, or use Debian 12 or 13: $*"
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Packages such as docker-registry start a service when installed; we want the program only.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    else
        policy=
    fi
    { apt-get -qq update &&
        apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${missing[@]}" \
            </dev/null >/dev/null; } || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    [ "$status" -eq 0 ] || die "apt-get could not install: ${missing[*]}"
}

new_enough() {
    command -v "$1" >/dev/null &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Sets PYTHON: the distribution's own interpreter where it is new enough, else the one on PATH.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then
            PYTHON=$(command -v "$candidate")
            return
        fi
    done
    die "runengine needs Python 3.11 or newer; this host has" \
        "$(python3 --version 2>/dev/null || echo none)." \
        "Debian 12 and 13, Ubuntu 24.04 and Fedora bring one."
}

# make_environment DIRECTORY: a virtual environment whose interpreter works and is new enough.
make_environment() {
    if [ -x "$1/bin/python" ] && new_enough "$1/bin/python" && "$1/bin/python" -m pip -V >/dev/null 2>&1; then
        return
    fi
    [ ! -e "$1" ] || [ -e "$1/pyvenv.cfg" ] || die "$1 exists and is no virtual environment: move it away"
    find_python
    say "making $1 with $("$PYTHON" --version)"
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    "$PYTHON" -m venv "$1" || die "$PYTHON cannot make a virtual environment in $1"
}

pip_install() { run_pip "$1" install "${@:2}"; }

# pip_wheel PYTHON DIRECTORY PACKAGE...
pip_wheel() { run_pip "$1" wheel --wheel-dir "${@:2}"; }

run_pip() {
    local python=$1 command=$2
    shift 2
    # pip 23.0 (Debian 12) would build python-prctl the old way, with a warning.
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_USE_PEP517=1 \
        "$python" -m pip "$command" --quiet --progress-bar off "$@"
}

# hash_of FILE|DIRECTORY...: changes when any of them does.
hash_of() {
    (cd "$ROOT_DIR" && find "$@" -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum) | sha256sum | cut -d' ' -f1
}

is_stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

# is_own_environment VENV: whether we made it.
is_own_environment() {
    [ -e "$1/.runengine-stamp" ] || compgen -G "$1/lib/python3*/site-packages/runengine" >/dev/null
}

# install_program PREFIX LAUNCHER [PIP ARGUMENT...]: the checkout into PREFIX/venv, the command at
# LAUNCHER; nothing to do where this very source is installed already.
install_program() {
    local prefix=$1 launcher=$2 wanted stamp=$1/venv/.runengine-stamp
    shift 2
    wanted=$(hash_of setup.cfg pyproject.toml runengine scripts/lib.sh)
    [ ! -e "$prefix/venv/pyvenv.cfg" ] || is_own_environment "$prefix/venv" ||
        die "$prefix/venv is an environment of something else: take another place for the program"
    make_environment "$prefix/venv"
    # Its mark, also if the installation is cut short.
    [ -e "$stamp" ] || : >"$stamp"
    if ! is_stamped "$stamp" "$wanted"; then
        install_copy "$prefix/venv" "$@"
        echo "$wanted" >"$stamp"
    fi
    write_launcher "$prefix/venv" "$launcher"
}

# copy_source: pip builds in the directory it is given and leaves stale files there; says where.
copy_source() {
    local copy
    copy=$(mktemp -d)
    (cd "$ROOT_DIR" && cp -r runengine setup.cfg pyproject.toml README.md LICENSE "$copy")
    find "$copy" -name __pycache__ -prune -exec rm -rf {} +
    echo "$copy"
}

install_copy() {
    local venv=$1 copy status=0
    shift
    copy=$(copy_source)
    pip_install "$venv/bin/python" "$@" "$copy" || status=$?
    rm -rf "$copy"
    [ "$status" -eq 0 ] || die "pip could not install runengine into $venv"
}

# write_launcher VENV LAUNCHER. No site module: the interpreter is up a few milliseconds earlier.
# UTF-8 whatever the locale: arguments are bytes for containers, and none may become another.
write_launcher() {
    local folders
    folders=$("$1/bin/python" - <<'END'
import sysconfig

print(list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))))
END
    )
    mkdir -p "$(dirname "$2")"
    cat >"$2.new" <<END
#!$1/bin/python -ISXutf8
import sys

sys.path += $folders
from runengine.front import main

main()
END
    chmod 755 "$2.new"
    mv -f "$2.new" "$2"
}
