#!/bin/sh
# Builds the wheel of this machine, with the C parts if there is a compiler, and one for the nodes, whose Python may be
# another: without them, for every Python. What the build says goes into a log, and is shown if it fails.
# usage: build_wheels.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

# usage: build FOLDER; older wheels in it are removed, so that one name stands for one file
build() {
    mkdir -p "$1"
    rm -f "$1"/clustercockpit-*.whl
    log=$1/build.log
    "$python" -m build --wheel --outdir "$1" . >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
    grep "^setup.py: " "$log" | sort -u || true
    ls "$1"/clustercockpit-*.whl
}

echo "Building two wheels (half a minute)"
build "$folder"
CC_NO_EXT=1 build "$folder/nodes"
