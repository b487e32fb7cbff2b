import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.clusters import ClusterFiles
from cc_backend.errors import ArchiveError


def write(root: Path, document: Any, folder: str = "tern") -> Path:
    path = root / folder / "cluster.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(document if isinstance(document, bytes) else orjson.dumps(document))
    return path


@pytest.fixture
def files(tmp_path: Path, tern: dict[str, Any]) -> ClusterFiles:
    write(tmp_path, tern)
    files = ClusterFiles(tmp_path)
    files.read()
    return files


def test_what_was_never_read_has_changed(tmp_path: Path, tern: dict[str, Any]) -> None:
    write(tmp_path, tern)
    files = ClusterFiles(tmp_path)
    assert files.have_changed()
    clusters, warnings = files.read()
    assert clusters.names() == ["tern"]
    assert warnings == []


def test_nothing_changes_by_itself(files: ClusterFiles) -> None:
    assert not files.have_changed()
    files.read()
    assert not files.have_changed()


def test_a_new_file_a_longer_one_and_one_less_are_changes(
    files: ClusterFiles, tmp_path: Path, tern: dict[str, Any]
) -> None:
    path = write(tmp_path, {**tern, "name": "gull"}, "gull")
    assert files.have_changed()
    assert files.read()[0].names() == ["gull", "tern"]
    path.write_bytes(path.read_bytes() + b"\n")
    assert files.have_changed()
    files.read()
    path.unlink()
    assert files.have_changed()


def test_a_file_of_the_same_size_and_time_in_its_place_is_a_change(files: ClusterFiles, tmp_path: Path) -> None:
    path = tmp_path / "tern" / "cluster.json"
    content = path.read_bytes().replace(b"cpu_load", b"cpu_toad")
    times_ns = path.stat().st_atime_ns, path.stat().st_mtime_ns
    other = tmp_path / "tern" / "new.json"
    other.write_bytes(content)
    os.utime(other, ns=times_ns)
    other.replace(path)
    assert files.have_changed()
    assert "cpu_toad" in files.read()[0]["tern"].metrics


def test_what_cannot_be_read_is_told_once_and_looked_at_when_it_changes(
    files: ClusterFiles, tmp_path: Path, tern: dict[str, Any]
) -> None:
    path = write(tmp_path, b"{")
    assert files.have_changed()
    with pytest.raises(ArchiveError, match=r"tern/cluster\.json: is not JSON"):
        files.read()
    assert not files.have_changed()
    path.write_bytes(orjson.dumps(tern))
    assert files.have_changed()
    assert files.read()[0].names() == ["tern"]


def test_an_archive_that_is_gone_is_a_change_that_cannot_be_read(files: ClusterFiles, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert files.have_changed()
    with pytest.raises(ArchiveError, match="cannot be listed"):
        files.read()
