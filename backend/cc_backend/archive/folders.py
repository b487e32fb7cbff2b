"""Detects missing folders of an archive that hold jobs according to the database: they were moved away or unmounted.

They are not created again, as that would silently separate earlier jobs from new ones.
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
"""(cluster, first, last) -> whether the database has archived jobs with job ids in [first, last]."""

logger = logging.getLogger(__name__)


class ArchiveFolders:
    """Checks that folders with jobs exist: those of clusters at each check, those below before each job is stored."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._has_archived: HasArchivedJobs = lambda *_: False
        self._clusters: frozenset[str] = frozenset()
        self._missing: dict[Path, str] = {}

    def expect_clusters(self, clusters: Iterable[str], has_archived: HasArchivedJobs) -> None:
        """Expect the folders of these clusters, which have archived jobs; `has_archived` answers for all others."""
        self._has_archived = has_archived
        self._clusters = self._clusters.union(clusters)

    def add_cluster(self, cluster: str) -> None:
        """Expect the folder of this cluster from now on, as a job was stored in it."""
        if cluster not in self._clusters:
            self._clusters |= {cluster}

    def check(self) -> None:
        """Check each expected folder once, and log which are missing and which exist again."""
        expected = {self._root / name: _cluster_folder_text(name) for name in self._clusters}
        found = {
            path: description for path, description in {**self._missing, **expected}.items() if not _is_folder(path)
        }
        for path, description in found.items():
            self._record_missing(path, description)
        for path in [path for path in list(self._missing) if path not in found]:
            logger.warning("the folder %s of the job archive is there again: %s", path, self._missing.pop(path))

    def faults(self) -> list[str]:
        """The folders that the last check missed, with advice, without paths."""
        return [f"the job archive lacks {description}: {_ADVICE}" for description in list(self._missing.values())]

    def require_job_folder(self, key: JobKey) -> None:
        """Return if the folders of this job exist, or hold no jobs according to the database.

        Raises:
            ArchiveUnavailable: one of them is missing.
        """
        first = key.job_id // JOBS_PER_FOLDER * JOBS_PER_FOLDER
        last = min(first + JOBS_PER_FOLDER - 1, MAX_JOB_ID)
        below = self._root / key.cluster / str(first // JOBS_PER_FOLDER)
        if not _is_folder(below):
            self.require_cluster_folder(key.cluster)
            if self._has_archived(key.cluster, first, last):
                self._raise_missing(below, f"the folder of jobs {first} to {last} of cluster {key.cluster!r}")

    def require_cluster_folder(self, name: str) -> None:
        """As `require_job_folder`, for the folder of a cluster."""
        folder = self._root / name
        if not _is_folder(folder) and (name in self._clusters or self._has_archived(name, 0, MAX_JOB_ID)):
            self._raise_missing(folder, _cluster_folder_text(name))

    def _raise_missing(self, path: Path, description: str) -> None:
        self._record_missing(path, description)
        raise ArchiveUnavailable(f"the job archive lacks {description}: {_ADVICE}", retry_after_s=RETRY_AFTER_S)

    def _record_missing(self, path: Path, description: str) -> None:
        if path not in self._missing:
            self._missing[path] = description
            logger.error(
                "the job archive lacks %s, %s: jobs wait to be archived there; %s. It is not made anew",
                description, path, _ADVICE,
            )  # fmt: skip


def _is_folder(path: Path) -> bool:
    """Whether the folder exists; False if access is denied."""
    try:
        return path.is_dir()
    except PermissionError:
        return False


def _cluster_folder_text(name: str) -> str:
    return f"the folder of cluster {name!r}"
