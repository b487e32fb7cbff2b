"""The job archive as a tree of files, version 3.

    <root>/version.txt
    <root>/<cluster>/cluster.json
    <root>/<cluster>/<jobId div 1000>/<jobId mod 1000, three digits>/<startTime>/meta.json
                                                                                 data.json or data.json.gz

A job is in the archive if its meta.json is, which is written last.
"""

import gzip
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import orjson

from cc_backend.archive.data_json import decode_data_json, encode_data_json
from cc_backend.archive.folders import JOBS_PER_FOLDER, RETRY_AFTER_S, ArchiveFolders
from cc_backend.archive.json_text import parse_json
from cc_backend.archive.meta_json import decode_meta_json, encode_meta_json, with_tags_and_meta_data
from cc_backend.clusters.load import is_cluster_name, parse_cluster
from cc_backend.errors import ArchiveError, ArchiveUnavailable, InvalidInput, NotFound
from cc_backend.model import Job, JobData, JobKey
from cc_backend.runtime.atomic_files import make_directories, remove_file, remove_leftovers, write_atomically

VERSION = 3

logger = logging.getLogger(__name__)

_PLAIN, _PACKED, _META = "data.json", "data.json.gz", "meta.json"
# Shorter documents are not compressed; all writers of version 3 use this limit.
_LARGEST_PLAIN_BYTES = 2000
_LARGEST_META_BYTES = 64 << 20
_LARGEST_DATA_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 20
_GZIP_LEVEL = 6
_THOUSANDS, _REMAINDER, _START = (re.compile(pattern) for pattern in ("0|[1-9][0-9]*", "[0-9]{3}", "0|[1-9][0-9]*"))


def log_damage(error: ArchiveError) -> None:
    """Log a damaged job: the default of `iterate_jobs`."""
    logger.warning("damaged entry in the archive: %s", error)


class FileArchive:
    """An existing archive in a folder; raises ArchiveError if there is none or its version is not 3."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fault = ""
        self._write_failed = False
        self.folders = ArchiveFolders(root)
        self._check_version()

    @classmethod
    def create(cls, root: Path) -> Self:
        """The archive in a folder, created if the folder is missing or has only hidden files.

        Raises ArchiveError if the folder has other content, or an archive of another version.
        """
        version = root / "version.txt"
        try:
            make_directories(root)
            if not version.exists():
                if any(not path.name.startswith(".") for path in root.iterdir()):
                    raise ArchiveError(f"{root}: is neither empty nor a job archive: it has no version.txt")
                write_atomically(version, f"{VERSION}\n".encode())
        except OSError as error:
            raise ArchiveError(f"{root}: no archive can be made: {error.strerror}") from error
        return cls(root)

    def check(self) -> None:
        """Check that the folder can be read and written, and log changes; cheap enough for once per second."""
        try:
            self._check_version()
        except ArchiveError as error:
            found = str(error)
        else:
            may_use = os.access(self.root, os.R_OK | os.W_OK | os.X_OK)
            found = "" if may_use else f"{self.root}: may not be read and written any more"
            self.folders.check()
        if not found and self._write_failed:
            found = self._try_writing()
        if found and not self._fault:
            logger.error("the job archive cannot be used: %s", found)
        elif self._fault and not found:
            logger.warning("the job archive in %s can be used again", self.root)
        self._fault = found

    def faults(self) -> list[str]:
        """Faults found by the last check, without paths."""
        if self._write_failed:
            return ["the job archive cannot be written: make room on its file system, or see what the log says"]
        advice = "put its folder back as it was, with the rights of the server's account"
        return [f"the job archive cannot be used: {advice}"] if self._fault else self.folders.faults()

    def _try_writing(self) -> str:
        """Why the archive still cannot be written, empty if it can."""
        trial = self.root / ".trial.tmp"
        try:
            write_atomically(trial, bytes(_BLOCK_BYTES))
            remove_file(trial)
        except ArchiveError as error:
            return str(error)
        self._write_failed = False
        return ""

    @contextmanager
    def _recording_write_failure(self) -> Iterator[None]:
        """Record a failed write inside the block."""
        try:
            yield
        except ArchiveError as error:
            self._write_failed = not isinstance(error, ArchiveUnavailable)
            raise

    def require_root(self) -> None:
        """Return if the archive exists: one that was moved away or unmounted must not be created again.

        Raises:
            ArchiveUnavailable: its folder does not exist, or is no longer an archive.
        """
        if not os.path.isfile(self.root / "version.txt"):  # noqa: PTH113 - Path.is_file raises where it may not look
            raise ArchiveUnavailable(
                "the job archive cannot be used now: its folder is not there", retry_after_s=RETRY_AFTER_S
            )

    def require_folders(self, key: JobKey) -> None:
        """Return if the folders exist in which a job is to be stored, or may be created.

        Raises:
            ArchiveUnavailable: the archive, or a folder of it that holds jobs, was moved away or unmounted.
        """
        self.require_root()
        self.folders.require_job_folder(key)

    def exists(self, key: JobKey) -> bool:
        """Whether the archive has this job; raises InvalidInput for an invalid key."""
        return (self.job_directory(key) / _META).is_file()

    def store(self, job: Job, data: JobData) -> None:
        """Write a job, samples first, then metadata; an interruption leaves no mixture of old and new.

        Raises ArchiveError that names the file and the reason, such as a full disk, and as `require_folders`.
        """
        content = encode_data_json(data)
        with self._recording_write_failure():
            self._store(job, content)
        self.folders.add_cluster(job.cluster)

    def _store(self, job: Job, content: bytes) -> None:
        directory = self._prepared_directory(job)
        plain, packed = directory / _PLAIN, directory / _PACKED
        # Readers prefer the compressed file: if one exists, only a compressed one can replace it atomically.
        if len(content) > _LARGEST_PLAIN_BYTES or packed.exists():
            write_atomically(packed, gzip.compress(content, _GZIP_LEVEL, mtime=0))
            write_atomically(directory / _META, encode_meta_json(job))
            remove_file(plain)
        else:
            write_atomically(plain, content)
            write_atomically(directory / _META, encode_meta_json(job))

    def store_meta(self, job: Job) -> None:
        """Write only the metadata of a job, for example after a change of its tags."""
        with self._recording_write_failure():
            write_atomically(self._prepared_directory(job) / _META, encode_meta_json(job))

    def update_meta(self, job: Job) -> bool:
        """Bring tags and meta data of a job into its meta.json; returns whether that changed the file.

        All else in the file stays as it is. Raises ArchiveError as `load_meta`, and if the file cannot be written.
        """
        key = JobKey(job.cluster, job.job_id, job.start_time)
        path = self.job_directory(key) / _META
        with _errors_naming(key):
            raw = self._read(path, _LARGEST_META_BYTES, key)
            _decode_meta(raw, path, key)
            changed = with_tags_and_meta_data(raw, job, source=str(path))
        if changed is raw:
            return False
        with self._recording_write_failure():
            write_atomically(path, changed)
        return True

    def load_meta(self, key: JobKey) -> Job:
        """The metadata of a job; raises ArchiveError if it is missing, damaged, or that of another job."""
        path = self.job_directory(key) / _META
        with _errors_naming(key):
            return _decode_meta(self._read(path, _LARGEST_META_BYTES, key), path, key)

    def load_data(self, key: JobKey) -> JobData:
        """The samples of a job; raises ArchiveError if they are missing or damaged."""
        directory = self.job_directory(key)
        path = directory / _PACKED
        if not path.exists():
            path = directory / _PLAIN
        with _errors_naming(key):
            return decode_data_json(self._read(path, _LARGEST_DATA_BYTES, key), source=str(path))

    def iterate_jobs(self, cluster: str = "", *, report: Callable[[ArchiveError], None] = log_damage) -> Iterator[Job]:
        """The metadata of all jobs, or of one cluster, sorted by cluster, id and start.

        The error of a damaged job is passed to `report`, and the job left out.
        """
        for key in self.job_keys(cluster):
            try:
                yield self.load_meta(key)
            except ArchiveError as error:
                report(error)

    def job_keys(self, cluster: str = "") -> Iterator[JobKey]:
        """The keys of all jobs, or of one cluster, from the names of folders, sorted by cluster, id and start."""
        for name in [cluster] if cluster else self.clusters():
            for lvl1 in _numbered_folders(self._cluster_directory(name), _THOUSANDS):
                for lvl2 in _numbered_folders(lvl1, _REMAINDER):
                    for start in _numbered_folders(lvl2, _START):
                        yield JobKey(name, int(lvl1.name) * JOBS_PER_FOLDER + int(lvl2.name), int(start.name))

    def clusters(self) -> list[str]:
        """The sorted names of the clusters: all folders with a valid cluster name."""
        try:
            names = [path.name for path in self.root.iterdir() if path.is_dir()]
        except OSError as error:
            raise ArchiveError(f"{self.root}: cannot be listed: {error.strerror}") from error
        return sorted(name for name in names if is_cluster_name(name))

    def load_cluster(self, name: str) -> dict[str, Any]:
        """The cluster.json of a cluster as stored; raises ArchiveError if it is missing or not a JSON object."""
        path = self._cluster_directory(name) / "cluster.json"
        document = parse_json(_read(path, _LARGEST_META_BYTES), str(path))
        if not isinstance(document, dict):
            raise ArchiveError(f"{path}: must be an object")
        return document

    def store_cluster(self, document: Mapping[str, Any]) -> None:
        """Write a cluster.json unchanged; raises InvalidInput if it is invalid, and as `require_folders`."""
        cluster, _ = parse_cluster(document, source="cluster.json")
        directory = self._cluster_directory(cluster.name)
        self.folders.require_cluster_folder(cluster.name)
        self._make_directory(directory)
        content = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        write_atomically(directory / "cluster.json", content)

    def remove_cluster(self, name: str) -> None:
        """Remove the cluster.json of a cluster; its jobs stay, as does its folder if it has any.

        Raises:
            NotFound: there is no such cluster.
            ArchiveError: the file cannot be removed.
        """
        directory = self._cluster_directory(name)
        try:
            (directory / "cluster.json").unlink()
            if not any(directory.iterdir()):
                directory.rmdir()
        except FileNotFoundError as error:
            raise NotFound(f"there is no cluster '{name}'") from error
        except OSError as error:
            raise ArchiveError(f"{directory}: cannot be removed: {error.strerror}") from error

    def remove(self, key: JobKey) -> None:
        """Remove a job, metadata first, so that the rest does not count as a job after an interruption."""
        directory = self.job_directory(key)
        remove_file(directory / _META)
        try:
            if directory.is_dir():
                shutil.rmtree(directory)
            if directory.parent.is_dir() and not any(directory.parent.iterdir()):
                directory.parent.rmdir()
        except OSError as error:
            raise ArchiveError(f"{directory}: cannot be removed: {error.strerror}") from error

    def job_directory(self, key: JobKey) -> Path:
        """The folder of a job, which need not exist; raises InvalidInput for an invalid key."""
        job_id, start_time = _path_number(key.job_id, "jobId"), _path_number(key.start_time, "startTime")
        lvl1, lvl2 = divmod(job_id, JOBS_PER_FOLDER)
        return self._cluster_directory(key.cluster) / str(lvl1) / f"{lvl2:03d}" / str(start_time)

    def _cluster_directory(self, name: str) -> Path:
        if not is_cluster_name(name):
            raise InvalidInput(f"cluster: {name[:60]!r} is not a valid name of a cluster")
        return self.root / name

    def _prepared_directory(self, job: Job) -> Path:
        key = JobKey(job.cluster, job.job_id, job.start_time)
        directory = self.job_directory(key)
        self.require_folders(key)
        self._make_directory(directory)
        return directory

    def _make_directory(self, directory: Path) -> None:
        self.require_root()
        try:
            make_directories(directory)
            remove_leftovers(directory)
        except OSError as error:
            raise ArchiveError(f"{directory}: cannot be made: {error.strerror}") from error

    def _read(self, path: Path, limit_bytes: int, key: JobKey) -> bytes:
        try:
            return _read(path, limit_bytes)
        except ArchiveError:
            self.require_folders(key)
            raise

    def _check_version(self) -> None:
        path = self.root / "version.txt"
        try:
            text = path.read_text(encoding="ascii")
        except FileNotFoundError as error:
            what = "is not a job archive, it has no version.txt" if self.root.is_dir() else "there is no such folder"
            message = f"{self.root}: {what}; correct archive.path, or make one with `cc-backend init`"
            raise ArchiveError(message) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{path}: cannot be read: {error}") from error
        version = text.removesuffix("\n")
        if version != str(VERSION):
            raise ArchiveError(f"{path}: the archive has version {version[:20]!r}, this program reads {VERSION} only")


@contextmanager
def _errors_naming(key: JobKey) -> Iterator[None]:
    """Let errors inside the block name the job whose archive cannot be read."""
    try:
        yield
    except ArchiveError as error:
        error.subject = f"the archive of job {key.job_id} of {key.cluster}, started {key.start_time},"
        raise


def _decode_meta(raw: bytes, path: Path, key: JobKey) -> Job:
    job = decode_meta_json(raw, source=str(path))
    if (job.cluster, job.job_id, job.start_time) != (key.cluster, key.job_id, key.start_time):
        raise ArchiveError(f"{path}: describes job {job.job_id} of {job.cluster!r}, started {job.start_time}")
    return job


def _path_number(value: object, name: str) -> int:
    """The value if it is a non-negative integer: paths contain nothing else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(f"{name}: must be an integer of at least 0, not {str(value)[:60]!r}")
    return value


def _numbered_folders(directory: Path, name: re.Pattern[str]) -> list[Path]:
    try:
        found = [path for path in directory.iterdir() if name.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArchiveError(f"{directory}: cannot be listed: {error.strerror}") from error
    return sorted(found, key=lambda path: int(path.name))


def _read(path: Path, limit_bytes: int) -> bytes:
    """The decompressed content of a file; raises ArchiveError if it exceeds the limit, which no real job does."""
    content = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while len(content) <= limit_bytes and (block := file.read(_BLOCK_BYTES)):
                content += block
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ArchiveError(f"{path}: cannot be read: {reason}") from error
    if len(content) > limit_bytes:
        raise ArchiveError(f"{path}: is larger than {limit_bytes >> 20} MiB")
    return bytes(content)
