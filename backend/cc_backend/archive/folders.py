"""The folders of an archive in which jobs are recorded to be: one that is gone was moved away, and is not made anew.

A new one in its place would part the jobs of before from those that come, with nothing to tell.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from cc_backend.errors import ArchiveUnavailable
from cc_backend.model import JobKey

RETRY_AFTER_S = 30
MAX_JOB_ID = 2**63 - 1
JOBS_PER_FOLDER = 1000
_ADVICE = "put it back as it was, or make an empty one in its place if what it held is gone for good"

HasArchivedJobs = Callable[[str, int, int], bool]
"""Whether archived jobs of a cluster are recorded, with ids from the one to the other, both included."""

logger = logging.getLogger(__name__)


class ArchiveFolders:
    """Which folders have to be there: those of clusters are looked at each second, those below before each job."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._has_archived: HasArchivedJobs = lambda *_: False
        self._clusters: frozenset[str] = frozenset()
        self._missing: dict[Path, str] = {}

    def expect_clusters(self, clusters: Iterable[str], has_archived: HasArchivedJobs) -> None:
        """These clusters have archived jobs; `recorded` is asked about any others."""
        self._has_archived = has_archived
        self._clusters = self._clusters.union(clusters)

    def add_cluster(self, cluster: str) -> None:
        """A job of this cluster is in the archive now."""
        if cluster not in self._clusters:
            self._clusters |= {cluster}

    def poll(self) -> None:
        """Take note of which folders are gone and which are there again; one look at each."""
        wanted = {self._root / name: _cluster_folder_text(name) for name in self._clusters}
        found = {path: words for path, words in {**self._missing, **wanted}.items() if not _is_folder(path)}
        for path, words in found.items():
            self._record_missing(path, words)
        for path in [path for path in list(self._missing) if path not in found]:
            logger.warning("the folder %s of the job archive is there again: %s", path, self._missing.pop(path))

    def faults(self) -> list[str]:
        """What was missing at the last look, and what to do, without paths."""
        return [f"the job archive lacks {words}: {_ADVICE}" for words in list(self._missing.values())]

    def require_job_folder(self, key: JobKey) -> None:
        """Return if the folders are there in which jobs like this one are recorded to be, or none are.

        Raises:
            ArchiveAway: one of them is gone.
        """
        first = key.job_id // JOBS_PER_FOLDER * JOBS_PER_FOLDER
        last = min(first + JOBS_PER_FOLDER - 1, MAX_JOB_ID)
        below = self._root / key.cluster / str(first // JOBS_PER_FOLDER)
        if not _is_folder(below):
            self.require_cluster_folder(key.cluster)
            if self._has_archived(key.cluster, first, last):
                self._raise_missing(below, f"the folder of jobs {first} to {last} of cluster {key.cluster!r}")

    def require_cluster_folder(self, name: str) -> None:
        """As `demand`, for the folder of a cluster."""
        folder = self._root / name
        if not _is_folder(folder) and (name in self._clusters or self._has_archived(name, 0, MAX_JOB_ID)):
            self._raise_missing(folder, _cluster_folder_text(name))

    def _raise_missing(self, path: Path, words: str) -> None:
        self._record_missing(path, words)
        raise ArchiveUnavailable(f"the job archive lacks {words}: {_ADVICE}", retry_after_s=RETRY_AFTER_S)

    def _record_missing(self, path: Path, words: str) -> None:
        if path not in self._missing:
            self._missing[path] = words
            logger.error(
                "the job archive lacks %s, %s: jobs wait to be archived there; %s. It is not made anew",
                words, path, _ADVICE,
            )  # fmt: skip


def _is_folder(path: Path) -> bool:
    """Whether it is there; one that may not be looked for is not."""
    try:
        return path.is_dir()
    except PermissionError:
        return False


def _cluster_folder_text(name: str) -> str:
    return f"the folder of cluster {name!r}"
