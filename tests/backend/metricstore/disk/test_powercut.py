"""What a power cut leaves: only what was brought to the disk, while removals may have got there by themselves."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.disk.wal.group_commit import Fsync

METRICS = {"demo": {"load": MetricSpec(60, "avg")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
NOW = T0 + 2 * WINDOW_S
HOURS = range(0, 2 * WINDOW_S, 3600)
LINE = b"load,cluster=demo,hostname=%s value=%d %d"


class PowerCut:
    """The worst that a disk may hold below a folder: files as they were synced, names of folders likewise.

    What is removed is gone at once. `moment` is called before each change that the main thread makes.
    """

    def __init__(self, root: Path, moment: Callable[[Self], None] = lambda _: None) -> None:
        self.moments = 0
        self._root = root
        self._moment = moment
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()
        for folder, _, files in os.walk(root):
            self._note_folder(Path(folder))
            for path in (Path(folder, name) for name in files):
                self._content[path.stat().st_ino] = path.read_bytes()

    def _note_folder(self, folder: Path) -> None:
        self._names[folder.stat().st_ino] = {entry.name: entry.inode() for entry in os.scandir(folder)}

    def __enter__(self) -> Self:
        for owner, name, after in (
            (os, "open", self._opened), (os, "fsync", self._synced), (os, "fdatasync", self._synced),
            (os, "pwrite", None), (Path, "replace", None),
            (Path, "unlink", self._unlinked), (Path, "mkdir", self._made),
        ):  # fmt: skip
            self._patch.setattr(owner, name, self._watched(getattr(owner, name), after))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _watched(self, real: Callable[..., Any], after: Callable[..., None] | None) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                self.moments += 1
                self._moment(self)
            with self._lock:
                result = real(*arguments, **more)
                if after is not None:
                    after(result, *arguments)
            return result

        return call

    def _opened(self, descriptor: int, _: object, flags: int = 0, *__: object) -> None:
        facts = os.fstat(descriptor)
        if flags & os.O_CREAT and not facts.st_size:  # the number may be that of a file that is gone
            self._content[facts.st_ino] = b""

    def _synced(self, _: object, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.is_dir():
            self._note_folder(path)
        else:
            self._content[path.stat().st_ino] = path.read_bytes()

    def _unlinked(self, _: object, path: Path, *__: object) -> None:
        self._names[path.parent.stat().st_ino].pop(path.name, None)

    def _made(self, _: object, path: Path, *__: object) -> None:
        self._names.setdefault(path.stat().st_ino, {})

    def image(self, folder: Path) -> Path:
        """A folder with what would be there if the power went now."""
        with self._lock:
            self._write(folder, self._root.stat().st_ino)
        return folder

    def _write(self, folder: Path, number: int) -> None:
        os.makedirs(folder)  # noqa: PTH103 that of Path is watched
        for name, inode in self._names[number].items():
            if inode in self._names:
                self._write(folder / name, inode)
            elif name != "lock":
                (folder / name).write_bytes(self._content.get(inode, b""))


def opened(folder: Path, *, fsync: Fsync = "always", **more: Any) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=NOW, fsync=fsync, **more)


def send(store: MetricStore, host: bytes, value: int, time_s: int) -> None:
    assert store.ingest(LINE % (host, value, time_s), received_s=time_s).durable


def values(store: MetricStore, host: str = "n1") -> dict[int, float]:
    """Time -> value of a host."""
    rows = store.query("demo", [Query("load", host)], from_s=T0, to_s=NOW)[0]
    return {T0 + 60 * at: v for row in rows for at, v in enumerate(row.data.tolist()) if v == v}  # noqa: PLR0124


def after_cut(disk: PowerCut, folder: Path, host: str = "n1") -> dict[int, float]:
    with opened(disk.image(folder)) as store:
        store.validate()
        return values(store, host)


def test_with_always_a_batch_is_on_the_disk_when_it_is_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with PowerCut(folder) as disk, opened(folder, segment_bytes=250) as store:
        for number in range(12):
            send(store, b"n1", number, T0 + 60 * number)
            assert after_cut(disk, tmp_path / str(number)) == {T0 + 60 * at: at for at in range(number + 1)}
        assert len(list(folder.glob("*.wal"))) > 2


@pytest.mark.parametrize("mode", ["always", "interval"])
def test_what_was_acknowledged_is_on_the_disk_when_the_store_is_closed(tmp_path: Path, mode: Fsync) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with PowerCut(folder) as disk:
        with opened(folder, fsync=mode, fsync_interval_s=3600, segment_bytes=250) as store:
            for number in range(12):
                send(store, b"n1", number, T0 + 60 * number)
        assert after_cut(disk, tmp_path / "image") == {T0 + 60 * at: at for at in range(12)}


def test_no_moment_of_a_pass_is_a_bad_one_for_a_power_cut(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    wanted: dict[int, float] = {}
    with opened(folder) as store:
        for round_ in range(2):  # the first makes the folder of snapshots, the second replaces files
            for number, time_s in enumerate(HOURS):
                value = 100 * round_ + number
                send(store, b"n1", value, time_s + T0)
                wanted[time_s + T0] = value
            images: list[Path] = []

            def cut(disk: PowerCut, images: list[Path] = images) -> None:
                images.append(disk.image(tmp_path / f"{len(list(tmp_path.iterdir()))}"))

            with PowerCut(folder, cut) as disk:
                assert store.snapshot(NOW)
                cut(disk)
            assert not list(images[-1].glob("*.wal"))
            assert len(images) > 10
            for image in images:
                with opened(image) as again:
                    assert values(again) == wanted


def test_no_moment_of_retention_is_a_bad_one_for_a_power_cut(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    images: list[Path] = []
    with opened(folder) as store:
        for number, time_s in enumerate(HOURS):
            for host in (b"n1", b"n2"):
                send(store, host, number, time_s + T0)
        with PowerCut(folder, lambda disk: images.append(disk.image(tmp_path / str(disk.moments)))) as disk:
            store.free(before_s=T0 + 7200, holds={"demo": {"n1": T0}})
            images.append(disk.image(tmp_path / "end"))
    assert len(images) > 5
    for image in images:
        with opened(image) as again:
            assert values(again) == {T0 + time_s: number for number, time_s in enumerate(HOURS)}
    with opened(images[-1]) as again:
        assert T0 not in values(again, "n2")
