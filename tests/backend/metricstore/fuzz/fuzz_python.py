"""Looks for bytes that break a reader, guided by coverage: `fuzz_python.py TARGET [libFuzzer options]`.

Needs `atheris` (extra `fuzz`). New inputs go to build/fuzz/TARGET; a crash leaves its input in the working folder.
To keep what was found: `fuzz_python.py TARGET -merge=1 tests/backend/metricstore/fuzz/corpus/TARGET build/fuzz/TARGET`.
The targets `head` and `chunks` are those of the HTTP server, below tests/backend/httpserver/fuzz.

    python tests/backend/metricstore/fuzz/fuzz_python.py log -max_total_time=600 -max_len=1024
"""

import logging
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
HTTP = HERE.parents[1] / "httpserver" / "fuzz"


def main() -> None:
    """Run one target until an option or a crash ends it."""
    sys.path[:0] = [str(HERE), str(HTTP), str(ROOT / "common"), str(ROOT / "backend")]
    with atheris.instrument_imports(include=["cc_common", "cc_backend"]):
        import http_targets  # noqa: PLC0415 imported here so that they are instrumented
        import targets  # noqa: PLC0415
    known = {**targets.TARGETS, **http_targets.TARGETS}
    logging.disable()  # damage is told there, thousands of times a second
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in known:
        sys.exit(f"usage: fuzz_python.py {'|'.join(known)} [libFuzzer options] [folders]")
    arguments = sys.argv[2:]
    if not any(not argument.startswith("-") for argument in arguments):
        found = ROOT / "build" / "fuzz" / name
        found.mkdir(parents=True, exist_ok=True)
        arguments += [str(found), str((HTTP if name in http_targets.TARGETS else HERE) / "corpus" / name)]
    again = f"{sys.executable} {Path(__file__).resolve()} {name}"  # how -merge starts others
    atheris.Setup([again, *arguments], known[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
