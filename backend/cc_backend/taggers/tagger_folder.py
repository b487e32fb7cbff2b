"""The files in a folder of the site's own patterns or rules: read within limits, and read again when they change."""

import os
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 500
MAX_FILE_BYTES = 256 * 1024
_MAX_TAG_CHARS = 100


@dataclass(frozen=True, slots=True)
class TaggerFile:
    """Name and text of a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class TaggerFolder:
    """A folder; one that does not exist has no files. Hidden files and backups of editors are left out."""

    path: Path

    def fingerprint(self) -> tuple[tuple[str, int, int], ...]:
        """Name, size and time of change of each file: equal while nothing changes."""
        found = []
        for path in self._files():
            try:
                status = path.stat()
            except OSError:  # removed meanwhile
                continue
            found.append((path.name, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def read(self) -> tuple[list[TaggerFile], list[str]]:
        """The files sorted by name, and why others cannot be read."""
        files, faults = [], []
        paths = self._files()
        if len(paths) > MAX_FILES:
            faults.append(f"{self.path}: has more than {MAX_FILES} files; the others are left out")
        for path in paths[:MAX_FILES]:
            try:
                with path.open("rb") as opened:
                    content = opened.read(MAX_FILE_BYTES + 1)
                if len(content) > MAX_FILE_BYTES:
                    faults.append(f"{path.name}: is larger than {MAX_FILE_BYTES // 1024} KiB; it is left out")
                    continue
                files.append(TaggerFile(path.name, content.decode("utf-8-sig")))
            except OSError as error:
                faults.append(f"{path.name}: cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                faults.append(f"{path.name}: is not UTF-8 text; it is left out")
        return files, faults

    def _files(self) -> list[Path]:
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if entry.is_file()]
        except OSError:
            return []
        return [self.path / name for name in sorted(names) if not name.startswith(".") and not name.endswith("~")]


def is_tag_name(text: str) -> bool:
    """Whether a text can be the name of a tag: printable, 1 to 100 characters, no blank at its ends."""
    return 0 < len(text) <= _MAX_TAG_CHARS and text.isprintable() and text == text.strip()
