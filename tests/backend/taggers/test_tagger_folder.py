import os
from pathlib import Path

import pytest

from cc_backend.taggers.tagger_folder import MAX_FILE_BYTES, MAX_FILES, TaggerFolder, is_tag_name


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    folder = TaggerFolder(tmp_path / "none")
    assert (folder.read(), folder.fingerprint()) == (([], []), ())


def test_files_come_sorted_and_hidden_ones_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", ".hidden", "a.txt~"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    files, faults = TaggerFolder(tmp_path).read()
    assert [(file.name, file.text) for file in files] == [("a.txt", "a.txt"), ("b.txt", "b.txt")]
    assert faults == []


def test_what_cannot_be_read_is_named_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("x")
    (tmp_path / "large.txt").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (tmp_path / "latin.txt").write_bytes(b"\xe4")
    files, faults = TaggerFolder(tmp_path).read()
    assert [file.name for file in files] == ["good.txt"]
    assert faults == [
        "large.txt: is larger than 256 KiB; it is left out",
        "latin.txt: is not UTF-8 text; it is left out",
    ]


def test_too_many_files_are_cut(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number:04}").touch()
    files, faults = TaggerFolder(tmp_path).read()
    assert len(files) == MAX_FILES
    assert "has more than 500 files" in faults[0]


def test_the_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    folder, path = TaggerFolder(tmp_path), tmp_path / "a.txt"
    path.write_text("a")
    os.utime(path, (1, 1))
    before = folder.fingerprint()
    assert folder.fingerprint() == before
    os.utime(path, (2, 2))
    assert folder.fingerprint() != before


@pytest.mark.parametrize(("text", "expected"), [("a", True), ("a b", True), ("", False), (" a", False), ("a\n", False)])
def test_a_tag_is_short_and_printable(text: str, *, expected: bool) -> None:
    assert is_tag_name(text) is expected
