"""Password hashes of accounts that were taken over from ClusterCockpit 1.5: bcrypt, replaced at the first login."""

import re

import bcrypt

_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""A hash of cost 4 to 14: each step more doubles the time, and 14 takes a second of a core."""
_DUMMY = "$2a$10$G9xMTID9fVeFODdVz4r2tuSBxjh8yfYf9yOnCswDdt7BmTfOgFBDS"
"""A hash of the cost that ClusterCockpit 1.5 uses; nobody's password."""
_MAX_BYTES = 72


def is_imported_hash(stored: str | None) -> bool:
    """Whether a stored hash is one that `matches_imported_hash` can check."""
    return stored is not None and _HASH.fullmatch(stored) is not None


def matches_imported_hash(stored: str | None, password: str) -> bool:
    """Whether a password matches such a hash; False, after the time that a usual one takes, if there is none.

    bcrypt knows no more than 72 bytes: a longer password never matches.
    """
    typed = password.encode("utf-8", "surrogatepass")
    fits = bcrypt.checkpw(typed[:_MAX_BYTES].replace(b"\0", b"?"), (stored or _DUMMY).encode())
    return fits and stored is not None and len(typed) <= _MAX_BYTES and b"\0" not in typed
