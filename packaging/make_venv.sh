#!/bin/sh
# Makes the virtual environment, or says which one apt line is missing (root: runs it).
# usage: make_venv.sh PYTHON VENV
set -eu
python=$1
venv=$2
apt_line="apt-get install -y git make python3-venv"

usable() { command -v "$python" >/dev/null 2>&1 && "$python" -c 'import ensurepip, venv' 2>/dev/null; }

if ! usable; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing what a bare Debian lacks: $apt_line"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $apt_line >/dev/null
    fi
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
echo "Installing the project and its dependencies into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[agent,backend,test]'
