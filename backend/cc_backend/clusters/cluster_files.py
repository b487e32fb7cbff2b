"""The cluster.json files of a job archive, with detection of changes."""

import logging
from pathlib import Path

from cc_backend.clusters.registry import ClusterRegistry, load_clusters

logger = logging.getLogger(__name__)

_State = dict[str, tuple[int, int, int]]


class ClusterFiles:
    """Reads `<root>/<cluster>/cluster.json`, and detects changes since the last read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: _State | None = None

    def read(self) -> tuple[ClusterRegistry, list[str]]:
        """All clusters, and warnings about values that were read leniently.

        Raises ArchiveError that names the file if one is invalid; the files count as read even then.
        """
        self._read = self._state()
        return load_clusters(self._root)

    def have_changed(self) -> bool:
        """Whether a file was added, removed or changed since the last read."""
        return self._state() != self._read

    def mark_changed(self) -> None:
        """Treat the files as changed, because what was read could not be applied."""
        self._read = None

    def _state(self) -> _State:
        """Path -> modification time, size and inode of each file; a replaced file has at least another inode."""
        state: _State = {}
        for path in self._root.glob("*/cluster.json"):
            try:
                facts = path.stat()
            except OSError:  # removed at this moment
                continue
            state[str(path)] = facts.st_mtime_ns, facts.st_size, facts.st_ino
        return state
