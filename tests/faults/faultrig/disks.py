"""Small file systems of the test's own, and how to fill them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import small_disk


@contextmanager
def moved_to_small_disk(folder: Path, size: str = "2m") -> Iterator[None]:
    """A folder with what is in it on a file system of its own; at the end its content is back where it was."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can be mounted by root only")
    aside = folder.with_name(folder.name + ".aside")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, aside)
    with small_disk(folder, size):
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        shutil.rmtree(aside)
        try:
            yield
        finally:
            shutil.copytree(folder, aside)
    shutil.rmtree(folder)
    aside.rename(folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """No byte is free in the folder's file system inside the block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()
