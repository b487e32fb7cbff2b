"""The codec in C, built with the address and undefined-behaviour sanitizers, on the fuzzer's corpus and on damage."""

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
    harness = repository / "tests" / "backend" / "metricstore" / "fuzz" / "codec_fuzz.c"
    out = tmp_path_factory.mktemp("codec") / "codec_fuzz"
    command = [compiler, "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZERS, "-DSTANDALONE"]
    command += ["-I", str(native), str(harness), str(native / "codec.c"), "-lm", "-o", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert not built.returncode, built.stderr
    return out


@pytest.fixture(scope="module")
def corpus(repository: Path) -> list[Path]:
    return sorted((repository / "tests" / "backend" / "metricstore" / "fuzz" / "corpus" / "codec").iterdir())


def run(program: Path, files: list[Path]) -> None:
    done = subprocess.run([str(program), *map(str, files)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-4000:]
    assert done.stdout == f"{len(files)} files\n"


def test_the_corpus_shows_no_fault(program: Path, corpus: list[Path]) -> None:
    assert len(corpus) >= 10
    run(program, corpus)


def test_damaged_payloads_show_no_fault(program: Path, corpus: list[Path], tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 it need not be secret
    files = []
    for number in range(400):
        data = bytearray(chance.choice(corpus).read_bytes())
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        if number % 4 == 0:
            del data[chance.randrange(len(data)) :]
        files.append(tmp_path / str(number))
        files[-1].write_bytes(data)
    run(program, files)
