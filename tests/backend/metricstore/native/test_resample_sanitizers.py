"""The resampling in C, built with the address and undefined-behaviour sanitizers, on the corpus and on any bits."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def program(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    native = repository / "backend" / "cc_backend" / "metricstore" / "native"
    harness = repository / "tests" / "backend" / "metricstore" / "fuzz" / "resample_fuzz.c"
    out = tmp_path_factory.mktemp("resample") / "resample_fuzz"
    command = [compiler, "-std=c11", "-g", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", *SANITIZERS]
    command += ["-DSTANDALONE", "-I", str(native), str(harness), str(native / "resample.c"), "-lm", "-o", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert not built.returncode, built.stderr
    return out


def run(program: Path, files: list[Path]) -> None:
    done = subprocess.run([str(program), *map(str, files)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-4000:]
    assert done.stdout == f"{len(files)} files\n"


def test_the_corpus_shows_no_fault(program: Path, repository: Path) -> None:
    corpus = sorted((repository / "tests" / "backend" / "metricstore" / "fuzz" / "corpus" / "resample").iterdir())
    assert len(corpus) >= 10
    run(program, corpus)


def test_any_bits_show_no_fault(program: Path, tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 it need not be secret
    files = []
    for number in range(60):
        files.append(tmp_path / str(number))
        number_of_edges = chance.randrange(40)
        files[-1].write_bytes(bytes([number_of_edges]) + chance.randbytes(chance.randrange(40, 2000)))
    run(program, files)
