#!/bin/sh
# Makes the virtual environment, or says which one apt line is missing (root: offers to run it).
# usage: make_venv.sh PYTHON VENV
set -eu
python=$1
venv=$2
apt_line="apt-get install -y git make python3-venv"

usable() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# Asks at a terminal; without one only CI=true is a yes.
agreed() {
    if [ -t 0 ] && [ -t 2 ]; then
        printf '%s lacks its venv module. Run "%s" now? [y/N] ' "$python" "$apt_line" >&2
        read -r answer
        case $answer in [yY]*) return 0 ;; *) return 1 ;; esac
    fi
    [ "${CI:-}" = true ]
}

if ! command -v "$python" >/dev/null 2>&1; then
    if [ "$python" != python3 ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "There is no $python on this machine. Name another one: make PYTHON=python3.12" >&2
        exit 1
    fi
fi
if ! usable && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && agreed; then
    echo "Installing what a bare Debian lacks: $apt_line"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $apt_line >/dev/null
fi
if ! usable; then
    echo "$python has no venv module. On Debian, as root: $apt_line" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "The backend needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.12" >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing the project and its dependencies into $venv (half a minute to two, by the network)"
log=$venv/install.log
# Each package is told as it comes; the whole output is in the log, and shown if it fails.
{ "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --editable '.[agent,backend,test]' 2>&1 ||
    echo "pip failed"; } | tee "$log" | sed -u -n \
    -e 's/^ *Downloading \([A-Za-z0-9._]*\)-.*/  \1/p' \
    -e 's/^Building .*/  building the project/p' \
    -e 's/^Installing collected packages.*/  installing/p'
if [ "$(tail -n 1 "$log")" = "pip failed" ]; then
    cat "$log" >&2
    exit 1
fi
