"""The C parts read what fuzzers found, and tables of odd input, under address and undefined behaviour sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
NATIVE = HERE.parents[2] / "backend" / "cc_backend" / "metricstore" / "native"
FUZZ = HERE / "fuzz"
FLAGS = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
FLAGS += ["-fno-sanitize-recover=all", "-DSTANDALONE", f"-I{NATIVE}"]
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
PARTS = {"lines": [], "codec": [NATIVE / "codec.c", "-lm"]}


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


@pytest.mark.parametrize("part", PARTS)
def test_no_input_makes_a_c_part_read_or_write_where_it_must_not(part: str, compiler: str, tmp_path: Path) -> None:
    program = tmp_path / part
    command = [compiler, *FLAGS, FUZZ / f"{part}_fuzz.c", *PARTS[part], "-o", program]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    inputs = sorted((FUZZ / "corpus" / part).iterdir())
    assert inputs
    run = subprocess.run([program, *inputs], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]


def test_the_inputs_for_lines_stay_small_and_reach_every_line(compiler: str, tmp_path: Path) -> None:
    inputs = sorted((FUZZ / "corpus" / "lines").iterdir())
    assert len(inputs) <= 80
    assert sum(path.stat().st_size for path in inputs) < 64 * 1024
    gcov = shutil.which("gcov")
    if gcov is None or not compiler.endswith("gcc"):
        pytest.skip("coverage is measured with gcc and gcov")
    command = [compiler, "-O0", "--coverage", "-DSTANDALONE", f"-I{NATIVE}", FUZZ / "lines_fuzz.c", "-o", "covered"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "covered", *inputs], cwd=tmp_path, check=True, capture_output=True)
    notes = next(tmp_path.glob("*.gcno"))
    subprocess.run([gcov, notes.name], cwd=tmp_path, check=True, capture_output=True)
    report = (tmp_path / "lines.c.gcov").read_text("utf-8").splitlines()
    missed = [line for line in report if line.strip().startswith("#####")]
    # Tables of a thousand million keys, and of 2 GiB of keys.
    assert all("LINES_FULL" in line for line in missed), missed
