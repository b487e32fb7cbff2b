"""One process at a time, and who comes too late learns who was first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_backend.errors import BackendError
from cc_backend.runtime.lockfile import LockFile

HOLD = (
    "import sys; from pathlib import Path; from cc_backend.runtime.lockfile import LockFile; "
    "lock = LockFile(Path(sys.argv[1]), 'it'); print('locked', flush=True); sys.stdin.read()"
)


def test_a_lock_of_another_process_names_what_is_in_use_and_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(BackendError) as refused:
            LockFile(path, "the folder /x")
        other.kill()
    assert str(refused.value) == (
        f"the folder /x is in use by another process (pid {other.pid}); "
        "stop that one, or give this one a place of its own"
    )
    LockFile(path, "the folder /x").close()


def test_a_lock_is_free_after_it_was_closed_however_often(tmp_path: Path) -> None:
    first = LockFile(tmp_path / "lock", "it")
    with pytest.raises(BackendError, match=f"pid {os.getpid()}"):
        LockFile(tmp_path / "lock", "it")
    first.close()
    second = LockFile(tmp_path / "lock", "it")
    first.close()  # must not close what has the number of its descriptor now
    with pytest.raises(BackendError):
        LockFile(tmp_path / "lock", "it")
    second.close()


def test_a_lock_knows_whether_its_file_is_still_there(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock", "it")
    assert lock.is_in_place()
    (tmp_path / "lock").rename(tmp_path / "moved")
    assert not lock.is_in_place()
    (tmp_path / "lock").write_text("")
    assert not lock.is_in_place()
    (tmp_path / "moved").rename(tmp_path / "lock")
    assert lock.is_in_place()
    lock.close()


def test_a_place_where_no_file_can_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"it cannot be used: .*gone"):
        LockFile(tmp_path / "gone" / "lock", "it")
