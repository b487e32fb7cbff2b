"""Creates a backend folder that is ready to serve: configuration, token keys, an empty archive."""

import errno
import json
import os
from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.token_keys import generate_keys
from cc_backend.errors import BackendError, Conflict

CONFIG_NAME = "config.json"
PRIVATE_KEY = "secrets/jwt-private-key"
PUBLIC_KEY = "secrets/jwt-public-key"

CONFIGURATION = {
    "main": {"addr": "localhost:8080", "db": "var/job.db"},
    "auth": {"jwts": {"max-age": "2160h", "private-key-file": PRIVATE_KEY, "public-key-file": PUBLIC_KEY}},
    "archive": {"kind": "file", "path": "var/job-archive"},
    "metric-store": {"retention-in-memory": "48h", "wal": {"directory": "var/metric-store"}},
}


def create_backend_folder(directory: Path) -> Path:
    """Create the folder and its content, and return the path of its configuration file.

    Raises:
        Conflict: the folder holds a configuration already; nothing was changed.
        BackendError: the folder cannot be written.
    """
    try:
        return _create(directory)
    except OSError as error:
        raise BackendError(f"{error.filename or directory}: {_advice(error, directory)}") from error


def _advice(error: OSError, directory: Path) -> str:
    """Why a folder cannot be created or written, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{error.strerror}; run this as an account that may write there, as which the server will run too "
            f"(root makes the folder: install -d -o ACCOUNT {directory}), or name another folder"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "is a file, not a folder; name another folder"
    advice = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another folder"
    return f"{error.strerror}; {advice}"


def _create(directory: Path) -> Path:
    config = directory / CONFIG_NAME
    if config.exists():
        raise Conflict(f"{config} exists already; nothing was changed")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("var", "var/metric-store", "secrets"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    private, public = generate_keys()
    write_private(directory / PRIVATE_KEY, private + "\n")
    write_private(directory / PUBLIC_KEY, public + "\n")
    archive = directory / "var" / "job-archive"
    archive.mkdir(mode=0o700, exist_ok=True)
    FileArchive.create(archive)
    write_private(config, json.dumps(CONFIGURATION, indent=2) + "\n")
    return config


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
