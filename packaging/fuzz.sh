#!/bin/sh
# Runs every fuzzer of the store, the archive and the HTTP server for some seconds each: the C parts (needs clang), then
# the rest (needs atheris).
# usage: fuzz.sh PYTHON SECONDS
set -eu
python=$1
seconds=$2
out=build/fuzz

command -v clang >/dev/null 2>&1 || { echo "The fuzzers of the C parts need clang: apt-get install -y clang" >&2; exit 1; }
mkdir -p "$out"
for part in metricstore/lines metricstore/codec metricstore/resample archive/decimals; do
    package=${part%/*}
    part=${part#*/}
    native=backend/cc_backend/$package/native
    fuzz=tests/backend/$package/fuzz
    sources="$fuzz/${part}_fuzz.c"
    [ "$part" = lines ] || sources="$sources $native/$part.c"
    # shellcheck disable=SC2086
    clang -g -O1 -ffp-contract=off -fsanitize=fuzzer,address,undefined -I tests/backend -I "$native" $sources -lm -o "$out/${part}_fuzz"
    mkdir -p "$out/$part"
    echo "== $part"
    "$out/${part}_fuzz" -max_total_time="$seconds" -max_len=4096 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="$out/" "$out/$part" "$fuzz/corpus/$part"
done

"$python" -c 'import atheris' 2>/dev/null || { echo "The other fuzzers need atheris: $python -m pip install -e '.[fuzz]'" >&2; exit 1; }
for target in line_protocol ingest log snapshot payload restore checkpoint query answer head chunks; do
    echo "== $target"
    "$python" tests/backend/metricstore/fuzz/fuzz_python.py "$target" -max_total_time="$seconds" -max_len=2048 -verbosity=0 -print_final_stats=1
done
