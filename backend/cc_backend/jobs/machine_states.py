"""The states that machines report about themselves: one document for each host, in `<folder>/<cluster>/<host>.json`.

What a document holds is up to those who send and read it; it need not be JSON.
"""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cc_backend.errors import ArchiveError, InvalidInput, NotFound, TooLarge, Unavailable
from cc_backend.runtime.atomic_files import make_directories, write_atomically
from cc_common.error_codes import ErrorCode

MAX_HOSTS = 100_000
"""Maximum documents of a cluster."""

RETRY_AFTER_S = 30

logger = logging.getLogger(__name__)

# No separators, nothing hidden, and short enough for a file name with its suffixes.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class MachineState:
    """A document as it was sent, and when it was stored (Unix seconds)."""

    content: bytes
    stored_s: float


class MachineStates:
    """The documents in a folder, which is created when the first of them is stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, cluster: str, host: str, content: bytes) -> None:
        """Store the document of a host, in place of an earlier one.

        Raises:
            InvalidInput: a name cannot be that of a file.
            TooLarge: the cluster has as many documents as it may have.
            Unavailable: the file cannot be written; the earlier one is unchanged.
        """
        path = self._path(cluster, host)
        try:
            make_directories(path.parent)
            if not path.exists() and sum(1 for _ in path.parent.iterdir()) >= MAX_HOSTS:
                raise TooLarge(f"there are machine states of {MAX_HOSTS} hosts of cluster {cluster!r} already")
            write_atomically(path, content)
        except (OSError, ArchiveError) as error:
            raise _unavailable(error) from error

    def load(self, cluster: str, host: str) -> MachineState:
        """The document of a host.

        Raises:
            InvalidInput: a name cannot be that of a file.
            NotFound: there is none.
            Unavailable: the file cannot be read.
        """
        path = self._path(cluster, host)
        try:
            with path.open("rb") as file:
                return MachineState(file.read(), os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            text = f"host {host!r} of cluster {cluster!r} has not sent its state"
            raise NotFound(text, code=ErrorCode.NOT_FOUND) from None
        except OSError as error:
            raise _unavailable(error) from error

    def _path(self, cluster: str, host: str) -> Path:
        for what, name in (("cluster", cluster), ("host", host)):
            if not _NAME.fullmatch(name) or ".." in name:
                raise InvalidInput(f"{what}: {name[:60]!r} cannot be the name of a file")
        return self._folder / cluster / f"{host}.json"


def _unavailable(error: OSError | ArchiveError) -> Unavailable:
    logger.error("a machine state cannot be read or written: %s", error)
    text = "the folder of machine states (main.machine-state-dir) cannot be used; the server's log says why"
    return Unavailable(text, retry_after_s=RETRY_AFTER_S)
