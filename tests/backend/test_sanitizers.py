"""The C parts under the address and undefined behaviour sanitizers: what fuzzers found, random bytes, and damage."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[2] / "backend" / "cc_backend"
TESTS = Path(__file__).resolve().parent
FLAGS = ["-std=gnu11", "-g", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
FLAGS += ["-fno-sanitize-recover=all", "-DSTANDALONE", f"-I{TESTS}"]
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
# part -> its package, and whether its target includes the source instead of being linked with it
PARTS = {
    "lines": ("metricstore", True),
    "codec": ("metricstore", False),
    "resample": ("metricstore", False),
    "decimals": ("archive", False),
}

Build = Callable[[str], Path]


def native(part: str) -> Path:
    return BACKEND / PARTS[part][0] / "native"


def target(part: str) -> Path:
    return TESTS / PARTS[part][0] / "fuzz" / f"{part}_fuzz.c"


def corpus(part: str) -> list[Path]:
    found = sorted((target(part).parent / "corpus" / part).iterdir())
    assert len(found) >= 10
    return found


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compiler whose programs run with sanitizers."""
    found = shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("trial")
    (folder / "trial.c").write_text("int main(void) { return 0; }\n", "ascii")
    trial = subprocess.run(
        [found, *FLAGS, folder / "trial.c", "-o", folder / "trial"], capture_output=True, check=False
    )
    if (
        trial.returncode
        or subprocess.run([folder / "trial"], env=ENVIRONMENT, capture_output=True, check=False).returncode
    ):
        pytest.skip("programs cannot be built and run with -fsanitize=address,undefined here")
    return found


@pytest.fixture(scope="module")
def build(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The program of a part, built once."""
    folder = tmp_path_factory.mktemp("fuzz")

    def built(part: str) -> Path:
        program = folder / part
        if not program.exists():
            sources = [target(part)] if PARTS[part][1] else [target(part), native(part) / f"{part}.c"]
            command = [compiler, *FLAGS, f"-I{native(part)}", *sources, "-lm", "-o", program]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return program

    return built


def run(program: Path, files: list[Path]) -> None:
    done = subprocess.run([program, *files], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(files)} files\n"


@pytest.mark.parametrize("part", PARTS)
def test_what_fuzzers_found_shows_no_fault(part: str, build: Build) -> None:
    run(build(part), corpus(part))


@pytest.mark.parametrize("part", PARTS)
def test_random_bytes_show_no_fault(part: str, build: Build, tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 it need not be secret
    files = [tmp_path / str(number) for number in range(60)]
    for file in files:
        # the first byte is often a number of things: a small one leaves bytes for more than one of them
        file.write_bytes(bytes([chance.randrange(40)]) + chance.randbytes(chance.randrange(4000)))
    run(build(part), files)


@pytest.mark.parametrize("part", PARTS)
def test_damaged_inputs_show_no_fault(part: str, build: Build, tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 it need not be secret
    sound = [data for data in (path.read_bytes() for path in corpus(part)) if data]
    files = [tmp_path / str(number) for number in range(400)]
    for number, file in enumerate(files):
        data = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        if number % 4 == 0:
            del data[chance.randrange(len(data)) :]
        file.write_bytes(data)
    run(build(part), files)


def test_the_inputs_for_lines_stay_small_and_reach_every_line(compiler: str, tmp_path: Path) -> None:
    inputs = corpus("lines")
    assert len(inputs) <= 80
    assert sum(path.stat().st_size for path in inputs) < 64 * 1024
    gcov = shutil.which("gcov")
    if gcov is None or not compiler.endswith("gcc"):
        pytest.skip("coverage is measured with gcc and gcov")
    command = [compiler, "-O0", "--coverage", "-DSTANDALONE", f"-I{TESTS}", f"-I{native('lines')}", target("lines")]
    subprocess.run([*command, "-o", "covered"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "covered", *inputs], cwd=tmp_path, check=True, capture_output=True)
    notes = next(tmp_path.glob("*.gcno"))
    subprocess.run([gcov, notes.name], cwd=tmp_path, check=True, capture_output=True)
    report = (tmp_path / "lines.c.gcov").read_text("utf-8").splitlines()
    missed = [line for line in report if line.strip().startswith("#####")]
    # Tables of a thousand million keys, and of 2 GiB of keys.
    assert all("LINES_FULL" in line for line in missed), missed
