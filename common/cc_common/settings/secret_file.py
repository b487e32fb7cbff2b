"""Files that hold one secret each."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Optional

from cc_common.errors import SettingsError

MAX_SECRET_BYTES = 65536


def read_token_option(name: Optional[str]) -> Optional[str]:
    """The token in the file that --token-file names, None without the option. Raises SettingsError."""
    try:
        return None if name is None else read_secret(Path(name)).strip()
    except ValueError as error:
        raise SettingsError("token-file", f"--token-file {error}") from error


def read_secret(path: Path) -> str:
    """The secret in a file, without the line end.

    Raises ValueError, whose text names the file and the reason, if the file cannot be read, is empty, is longer than
    64 KiB or can be accessed by other users.
    """
    try:
        if path.stat().st_mode & stat.S_IRWXO:
            raise ValueError(f"{path} can be accessed by other users of this machine; run chmod 0600 on it")
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: not UTF-8") from error
    secret = text.rstrip("\r\n")
    if not secret or len(text) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} is {'too long' if secret else 'empty'}")
    return secret
