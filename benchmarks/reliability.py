"""How much is lost or doubled when things are killed again and again: real processes, counted by value afterwards.

usage: reliability.py [ROUNDS] [--seed N]

Each round kills the backend (parent, serving process or both), an agent or the Slurm adapter at a moment drawn by
chance. `make bench` runs a few rounds; a thousand take about half an hour.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ROOT / "tests/faults"
DEFAULT_ROUNDS = 12
TESTS = {
    "backend": "test_kill_backend.py",
    "agent": "test_kill_agent.py",
    "adapter": "test_kill_adapter.py",
}
_COUNTED = re.compile(r"^counted (.*)$", re.MULTILINE)


class Result(NamedTuple):
    """What one of the three has come to."""

    kills: int
    seconds: float
    counted: dict[str, int]
    passed: bool
    output: str


def main() -> int:
    """Kill each part so many times and print a table; 1 if anything was lost or doubled."""
    options = parse_arguments()
    print(f"seed {options.seed}, {options.rounds} rounds each\n")
    print(f"{'killed':8} {'kills':>6} {'samples':>9} {'events':>8} {'lost':>5} {'double':>7} {'seconds':>8}")
    failed = False
    for part, test in TESTS.items():
        result = measure(test, options.rounds, options.seed)
        lost, double = ("0", "0") if result.passed else ("?", "?")
        counted = result.counted
        print(
            f"{part:8} {result.kills:6} {counted.get('samples', 0):9} {counted.get('events', 0):8}"
            f" {lost:>5} {double:>7} {result.seconds:8.0f}",
            flush=True,
        )
        if not result.passed:
            failed = True
            print(result.output[-4000:], file=sys.stderr)
    return int(failed)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("rounds", nargs="?", type=int, default=DEFAULT_ROUNDS, help="rounds for each part")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    return parser.parse_args()


def measure(test: str, rounds: int, seed: int) -> Result:
    """The kill test of one part with so many rounds; the tests are what counts and what compares."""
    environment = {**os.environ, "CC_FAULT_ROUNDS": str(rounds), "CC_FAULT_SEED": str(seed)}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:randomly", str(FAULTS / test)]
    begun_s = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    counted: dict[str, int] = {}
    for line in _COUNTED.findall(done.stdout):
        for word in line.split():
            name, _, number = word.partition("=")
            counted[name] = counted.get(name, 0) + int(number)
    kills = counted.get("kills", 0)
    return Result(kills, time.monotonic() - begun_s, counted, done.returncode == 0, done.stdout + done.stderr)


if __name__ == "__main__":
    sys.exit(main())
