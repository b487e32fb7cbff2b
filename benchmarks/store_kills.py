"""Kills a store with SIGKILL under load, in snapshots, restores and retention, and counts what is lost: every sample.

    python benchmarks/store_kills.py [ROUNDS] [--seed 1] [--directory FOLDER]

The rounds are those of the test suite (`tests/backend/metricstore/storekills.py`), only more. Promise: none lost, none
wrong. 1 if that is not so.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS_FILE = Path(__file__).resolve().parent.parent / "tests/backend/metricstore/storekills.py"


def main() -> int:
    """Run, and pass on what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the store lies meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        command = [sys.executable, str(ROUNDS_FILE), f"{folder}/store", str(options.rounds), str(options.seed)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
