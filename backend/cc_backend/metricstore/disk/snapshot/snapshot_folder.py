"""The folder of snapshot files: one file per timestep and window of the samples in memory.

Files are replaced as a whole. The folder knows the chunks of each file, so that chunks which left memory can be removed
from it without reading the samples.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot.snapshot_format import ChunkEntry
from cc_backend.metricstore.disk.snapshot.window_file import (
    ChangedChunk,
    CopiedChunk,
    WindowName,
    WrittenFile,
    open_reader,
    read_window_entries,
    write_window_file,
)
from cc_backend.metricstore.disk.wal.write_ahead_log import sync_directory
from cc_backend.runtime.lockfile import FileId, file_id

logger = logging.getLogger(__name__)

SUFFIX = ".win1"
"""Contains the version of the format, so that files of another version are neither read nor replaced."""


class SnapshotFolder:
    """Names, sizes and chunks of the files in a folder. For one thread at a time. Disk faults raise OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sizes: dict[WindowName, int] = {}
        self._chunks: dict[WindowName, frozenset[int]] = {}
        self._unread: set[WindowName] = set()
        self._id: FileId | None = None
        if not directory.is_dir():
            return
        self._id = file_id(directory.stat())
        for leftover in directory.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        for path in directory.glob(f"*{SUFFIX}"):
            name = _parse_file_name(path)
            if name is not None:
                self._sizes[name] = path.stat().st_size
        self._unread.update(self._sizes)

    def windows(self) -> list[WindowName]:
        """The windows that have a file, latest end first."""
        return sorted(self._sizes, key=lambda name: (window_end_s(name), -name.timestep_s), reverse=True)

    def path(self, name: WindowName) -> Path:
        """The path of the file of a window."""
        return self.directory / f"{name.timestep_s}-{name.start_s}{SUFFIX}"

    def __contains__(self, name: WindowName) -> bool:
        return name in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(self._sizes.values())

    def file_size_bytes(self, name: WindowName) -> int:
        """Size of the file of a window, 0 without one."""
        return self._sizes.get(name, 0)

    def chunks(self, name: WindowName) -> frozenset[int]:
        """The numbers of the chunks in the file of a window."""
        known = self._chunks.get(name)
        if known is None:
            known = frozenset()
            if name in self._sizes:
                with open_reader(self.path(name)) as (read, size_bytes):
                    known = frozenset(entry.chunk for entry in read_window_entries(read, size_bytes, name)[0])
            self._chunks[name] = known
        return known

    def set_chunks(self, name: WindowName, chunks: Iterable[int]) -> None:
        """Record the chunks of a file that was read completely."""
        self._chunks[name] = frozenset(chunks)
        self._unread.discard(name)

    def unread(self) -> list[WindowName]:
        """Windows whose file was there at the start and was not read since: its samples may not be in memory."""
        return sorted(self._unread)

    def pop_lost(self) -> list[WindowName]:
        """Windows whose file is gone, or was in a folder that has been replaced by another one.

        Each is returned once, and has no file from then on. Raises OSError if the folder cannot be read.
        """
        try:
            there = {path.name for path in self.directory.iterdir()}
            is_same = self._id is None or file_id(self.directory.stat()) == self._id
        except FileNotFoundError:
            there, is_same = set(), True
        lost = [name for name in self._sizes if not is_same or self.path(name).name not in there]
        for name in lost:
            self._sizes.pop(name)
            self._chunks.pop(name, None)
            self._unread.discard(name)
        if not is_same:
            self._id = file_id(self.directory.stat())
        return lost

    def write_temporary(
        self, name: WindowName, chunks: Iterable[ChangedChunk | CopiedChunk], *, drop_unreadable: bool = False
    ) -> tuple[Path, WrittenFile]:
        """Write a new file of a window under a temporary name; `publish` replaces the old file with it.

        Copied chunks that cannot be read are dropped with `drop_unreadable`; else UnreadableError is raised.
        """
        if not self.directory.is_dir():
            self.directory.mkdir(mode=0o700)
            sync_directory(self.directory.parent)
        self._id = file_id(self.directory.stat())
        temporary = self.path(name).with_suffix(".tmp")
        try:
            written = write_window_file(
                temporary, name, chunks, slots=WINDOW_SLOTS, chunk_rows=CHUNK_ROWS, drop_unreadable=drop_unreadable
            )
        except BaseException:
            _remove_quietly(temporary)
            raise
        return temporary, written

    def publish(self, name: WindowName, temporary: Path, written: WrittenFile) -> None:
        """Rename a written file to its final name and sync the folder; without chunks, remove the old file."""
        try:
            if written.entries:
                temporary.replace(self.path(name))
                self._sizes[name] = written.size_bytes
                self._chunks[name] = frozenset(entry.chunk for entry in written.entries)
                self._unread.discard(name)
                sync_directory(self.directory)
                return
        except OSError:
            _remove_quietly(temporary)
            raise
        temporary.unlink()
        self.remove(name)

    def remove(self, name: WindowName) -> int:
        """Remove the file of a window; its size in bytes, 0 if there was none."""
        self.path(name).unlink(missing_ok=True)
        self._chunks.pop(name, None)
        self._unread.discard(name)
        return self._sizes.pop(name, 0)

    def keep_only(self, name: WindowName, wanted: frozenset[int]) -> list[ChunkEntry]:
        """Rewrite a file with only some chunks; their new headers, without chunks that were damaged."""
        if not wanted:
            self.remove(name)
            return []
        with open_reader(self.path(name)) as (read, size_bytes):
            entries, _ = read_window_entries(read, size_bytes, name)
            temporary, written = self.write_temporary(
                name, [CopiedChunk(e, read) for e in entries if e.chunk in wanted]
            )
        self.publish(name, temporary, written)
        return written.entries

    def payload_slices(self, name: WindowName, entries: Iterable[ChunkEntry]) -> dict[int, FileSlice]:
        """Chunk -> its samples as a slice of the file of a window; empty if the file cannot be opened."""
        try:
            file = SliceFile(self.path(name))
        except OSError as error:  # blocks can still be read from the old file, which is open
            logger.warning("file=%s cannot be opened: %s", self.path(name), error.strerror)
            return {}
        return {entry.chunk: payload_slice(file, entry) for entry in entries}


def payload_slice(file: SliceFile, entry: ChunkEntry) -> FileSlice:
    """The samples of a chunk as a slice of a file."""
    return FileSlice(file, entry.payload_offset, entry.payload_bytes, entry.payload_crc)


def window_end_s(name: WindowName) -> int:
    """End of a window: the first second after it."""
    return name.start_s + WINDOW_SLOTS * name.timestep_s


def window_name(timestep_s: int, window: int) -> WindowName:
    """The name of a window of a grid, by its number."""
    return WindowName(timestep_s, window * WINDOW_SLOTS * timestep_s)


def window_number(name: WindowName) -> int:
    """The number of a window in its grid."""
    return name.start_s // (WINDOW_SLOTS * name.timestep_s)


def _parse_file_name(path: Path) -> WindowName | None:
    timestep, _, start = path.name.removesuffix(SUFFIX).partition("-")
    digits = start.removeprefix("-")
    if not (timestep.isdecimal() and digits.isdecimal() and int(timestep)):
        return None
    name = WindowName(int(timestep), int(start))
    return name if name.start_s % (WINDOW_SLOTS * name.timestep_s) == 0 else None


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        logger.debug("file=%s stays: %s", path, error.strerror)
