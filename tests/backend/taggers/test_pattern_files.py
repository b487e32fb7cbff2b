"""Pattern files of sites: read as ClusterCockpit 1.5 reads them, in time that grows with the script only."""

import time
from pathlib import Path

import pytest

from cc_backend.taggers import pattern_files
from cc_backend.taggers.pattern_files import MAX_PATTERNS, read_pattern_file
from cc_backend.taggers.tagger_folder import TaggerFile, TaggerFolder

pytest.importorskip("re2", reason="patterns need google-re2, which has no wheel for this machine")


def matches(patterns: str, script: str) -> bool:
    file, faults = read_pattern_file(TaggerFile("app.txt", patterns))
    assert faults == []
    assert file is not None
    return file.matches(script)


@pytest.mark.parametrize(
    ("patterns", "script", "expected"),
    [
        ("gromacs\ngmx\n", "srun gmx mdrun", True),
        ("gromacs\n\n\n  \n", "srun gmx mdrun", False),
        ("gmx", "SRUN GMX MDRUN", True),
        ("GMX", "srun gmx", True),
        ("gmx", "# gmx", False),
        ("gmx", "a # b\nc gmx", True),
        ("gmx", "a # gmx\nb", False),
        ("a|gmx", "x # gmx", False),
        (r"\blmp\s+", "srun lmp -in x", True),
        (r"\blmp\s+", "srun xlmp -in x", False),
        ("starccm+", "STARCCM+ -batch", True),
        ("-podkey", "x -podkey y", True),
        ("[[:alpha:]]+foam", "simpleFoam", True),
        (r"\pL+x", "äx", True),
        ("(?i)abc$", "ABC\nd", True),
        ("^srun", "x\nsrun y", True),
        ("gmx\r\nlmp\r\n", "lmp x", True),
    ],
)
def test_a_pattern_matches_anywhere_but_not_behind_a_comment(patterns: str, script: str, *, expected: bool) -> None:
    assert matches(patterns, script) is expected


def test_a_line_that_cannot_be_read_is_named_and_costs_no_other() -> None:
    file, faults = read_pattern_file(TaggerFile("app.txt", "(\ngmx\na)|(b\n(?=x)\n\\1\n" + "x" * 1001))
    assert file is not None
    assert file.matches("gmx")
    assert [fault.split(":")[0] for fault in faults] == [f"app.txt, line {line}" for line in (1, 3, 4, 5, 6)]
    assert "missing )" in faults[0]
    assert "longer than 1000 characters" in faults[-1]


def test_an_empty_file_has_no_patterns_and_too_many_are_cut() -> None:
    file, faults = read_pattern_file(TaggerFile("python.txt", "\n \n"))
    assert (file and file.tag, file and file.matches("python"), faults) == ("python", False, [])
    file, faults = read_pattern_file(TaggerFile("a.txt", "x\n" * (MAX_PATTERNS + 1)))
    assert faults == ["a.txt: has more than 1000 patterns; the others are left out"]


def test_a_name_that_is_no_tag_is_refused() -> None:
    assert read_pattern_file(TaggerFile("a\x07.txt", "x"))[0] is None
    assert read_pattern_file(TaggerFile("x" * 101 + ".txt", "x"))[0] is None


def test_without_re2_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_files, "_load_engine", lambda: None)
    assert read_pattern_file(TaggerFile("a.txt", "x")) == (
        None,
        ["a.txt: patterns need the package google-re2, which is not installed"],
    )
    assert read_pattern_file(TaggerFile("a.txt", ""))[1] == []


@pytest.mark.parametrize("pattern", ["(a+)+$b", "(a|a)*b", "(a*)*c", ".*.*.*.*.*.*=", "(x+x+)+y", "(.*a){20}$b"])
def test_patterns_that_bring_others_to_a_standstill_take_no_time(pattern: str) -> None:
    script = ("a" * 5000 + "\n") * 60
    begin = time.process_time()
    matches(pattern, script)
    assert time.process_time() - begin < 5


def test_half_a_surrogate_pair_is_read() -> None:
    assert matches("gmx", "\ud800 gmx")


def test_the_patterns_of_the_reference_are_read_unchanged(shared_fixtures: Path) -> None:
    files, faults = TaggerFolder(shared_fixtures / "tagger/apps").read()
    found = {}
    for file in files:
        patterns, wrong = read_pattern_file(file)
        faults += wrong
        assert patterns is not None
        found[patterns.tag] = patterns
    assert (len(found), faults) == (16, [])
    assert found["lammps"].matches("mpirun lmp -in x")
    assert found["turbomole"].matches("ridft > out")
    assert not found["vasp"].matches("# vasp_std")
