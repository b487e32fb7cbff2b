"""Idempotency keys: the answers that are kept for requests, so that a repeated request is answered but not done again.

A key belongs to a caller, and the answer is stored in the transaction of what it is about. Refused requests changed
nothing, so their answers are not kept, and a repetition is decided anew.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cc_backend.auth.caller import Caller
from cc_backend.db.database import Database
from cc_backend.errors import Conflict, InvalidInput
from cc_common.error_codes import ErrorCode

HEADER = "Idempotency-Key"
KEPT_S = 86_400
"""How long an answer is kept."""
MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Maximum size of all answers that are kept; beyond it the oldest go first."""
_MAX_KEY_LENGTH = 255
_FIND = "SELECT request_hash, status, body FROM idempotency_key WHERE key_hash = ? AND kept_s > ?"
_KEEP = """INSERT INTO idempotency_key (key_hash, request_hash, status, body, kept_s) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key_hash) DO UPDATE SET
request_hash = excluded.request_hash, status = excluded.status, body = excluded.body, kept_s = excluded.kept_s"""
_DELETE_OLD = "DELETE FROM idempotency_key WHERE kept_s <= ?"
_DELETE_BEYOND = """DELETE FROM idempotency_key WHERE kept_s <= (
SELECT MAX(kept_s) FROM (
SELECT kept_s, SUM(LENGTH(body) + 100) OVER (ORDER BY kept_s DESC) AS bytes FROM idempotency_key) AS newest
WHERE bytes > ?)"""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response, as it is stored with its idempotency key: HTTP status and JSON body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an idempotency key, as hashes: of caller and key, and of what is requested."""

    key_hash: str
    request_hash: str


def keyed_request(caller: Caller, key: str, path: str, body: bytes) -> KeyedRequest:
    """The request of a caller with this key.

    Tokens of one account that are limited to different clusters have keys of their own.

    Raises:
        InvalidInput: the key is empty, too long, or has characters that are not printable ASCII.
    """
    if not 1 <= len(key) <= _MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise InvalidInput(f"{HEADER}: must be 1 to {_MAX_KEY_LENGTH} printable ASCII characters")
    owner = (caller.kind, caller.name, *caller.allowed_clusters)
    return KeyedRequest(
        _hash([*(text.encode("utf-8", "surrogatepass") for text in owner), b"", key.encode()]),
        _hash([path.encode(), body]),
    )


class IdempotencyKeys:
    """Keeps the answers to requests with an idempotency key for a day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def respond_once(self, request: KeyedRequest, now_s: int, answer: Callable[[], StoredResponse]) -> StoredResponse:
        """The kept answer to a request, or the one that `answer` makes now, which is then kept.

        Raises:
            Conflict: the caller has used the key for another request.
        """
        with self._database.write():
            kept = self._database.first_row(_FIND, request.key_hash, now_s - KEPT_S)
            if kept is not None:
                request_hash, status, body = kept
                if request_hash != request.request_hash:
                    text = f"{HEADER}: was used for another request; take a new key for each request"
                    raise Conflict(text, code=ErrorCode.IDEMPOTENCY_KEY_REUSED)
                return StoredResponse(status, body.encode())
            made = answer()
            row = (request.key_hash, request.request_hash, made.status, made.body.decode(), now_s)
            self._database.execute_many(_KEEP, [row])
            return made

    def prune(self, now_s: int, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        """Remove answers that are older than a day, and the oldest of what exceeds `max_bytes`."""
        with self._database.write():
            self._database.execute_many(_DELETE_OLD, [(now_s - KEPT_S,)])
            self._database.execute_many(_DELETE_BEYOND, [(max_bytes,)])


def _hash(parts: Sequence[bytes]) -> str:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.hexdigest()
