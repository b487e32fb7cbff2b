"""The cluster.json files of a job archive: read at the start, and again when one of them changed."""

import logging
from pathlib import Path

from cc_backend.clusters.registry import ClusterRegistry, load_clusters

logger = logging.getLogger(__name__)

_State = dict[str, tuple[int, int, int]]


class ClusterFiles:
    """What `<root>/<cluster>/cluster.json` hold, and whether that changed since they were last read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: _State | None = None

    def read(self) -> tuple[ClusterRegistry, list[str]]:
        """All clusters, and warnings about what was read leniently.

        Raises ArchiveError that names the file if one cannot be used; until a file changes again, nothing has changed.
        """
        self._read = self._state()
        return load_clusters(self._root)

    def have_changed(self) -> bool:
        """Whether a file is new, gone, or another one than when they were last read."""
        return self._state() != self._read

    def mark_changed(self) -> None:
        """Count the files as changed, whatever they are: what was read could not be taken over."""
        self._read = None

    def _state(self) -> _State:
        """Time, size and number of each file: a file that took another's place has a new number at least."""
        state: _State = {}
        for path in self._root.glob("*/cluster.json"):
            try:
                facts = path.stat()
            except OSError:  # it went in this moment
                continue
            state[str(path)] = facts.st_mtime_ns, facts.st_size, facts.st_ino
        return state
