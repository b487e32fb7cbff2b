"""Sessions of the web pages: a random secret in a cookie, of which the database has the hash."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

import peewee

from cc_backend.auth.caller import Caller
from cc_backend.auth.tables import SessionRow, UserRow
from cc_backend.auth.users import User, user_from_row
from cc_backend.db.database import Database
from cc_backend.errors import NotFound, Unavailable

MAX_AGE_S = 168 * 3600
IDLE_S = 24 * 3600
_SEEN_RESOLUTION_S = 60  # maximum age of `last_seen_s`, so that not every request writes
_CLOCK_SLACK_S = 900
_SECRET_BYTES = 32
_MAX_COOKIE_LENGTH = 128
_ID_LETTERS = 16


@dataclass(frozen=True, slots=True)
class Session:
    """A valid session; `csrf_token` is required with every request that changes something."""

    user: User
    csrf_token: str
    created_s: int

    @property
    def caller(self) -> Caller:
        """The logged-in caller, with the present roles of the account."""
        return Caller(self.user.name, self.user.roles, self.user.projects, kind="session")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A stored session. Its `id` gives no access; times are Unix seconds."""

    id: str
    user: str
    created_s: int
    last_seen_s: int
    ends_s: float


class Sessions:
    """The sessions in the database. They end `max_age_s` after their start, or when unused for `idle_s`."""

    def __init__(self, database: Database, *, max_age_s: float = MAX_AGE_S, idle_s: float = IDLE_S) -> None:
        self._database = database
        self._max_age_s = max_age_s
        self._idle_s = idle_s

    def create(self, user: str, now_s: float) -> str:
        """Create a session of an account, and return its cookie value.

        Raises:
            NotFound: there is no such account.
        """
        cookie = secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.write():
            if not UserRow.select().where(UserRow.name == user).exists(self._database):
                raise NotFound(f"there is no account '{user}'")
            SessionRow.insert(
                secret_hash=_hash(cookie), user=user, created_s=int(now_s), last_seen_s=int(now_s)
            ).execute(self._database)
        return cookie

    def lookup(self, cookie: str, now_s: float) -> Session | None:
        """The session of a cookie, with the present state of its account; None if there is none or it has ended."""
        if not cookie or len(cookie) > _MAX_COOKIE_LENGTH or not cookie.isascii():
            return None
        secret_hash = _hash(cookie)
        query = (
            SessionRow.select(SessionRow, UserRow)
            .join(UserRow, attr="account")
            .where(SessionRow.secret_hash == secret_hash)
        )
        row = next(iter(query.execute(self._database)), None)
        if row is None or row.account.disabled_s is not None or self._is_over(row, now_s):
            return None
        if now_s - row.last_seen_s >= _SEEN_RESOLUTION_S:
            self._mark_seen(secret_hash, int(now_s))
        return Session(user_from_row(row.account), csrf_token_of(cookie), row.created_s)

    def end(self, cookie: str) -> None:
        """End one session, if it exists."""
        with self._database.write():
            SessionRow.delete().where(SessionRow.secret_hash == _hash(cookie)).execute(self._database)

    def list(self, now_s: float, user: str | None = None) -> list[SessionRecord]:
        """The current sessions of all accounts or of one, newest first."""
        query = SessionRow.select().order_by(SessionRow.created_s.desc(), SessionRow.secret_hash)
        if user is not None:
            query = query.where(SessionRow.user == user)
        return [
            SessionRecord(
                row.secret_hash[:_ID_LETTERS],
                row.user_id,
                row.created_s,
                row.last_seen_s,
                min(row.created_s + self._max_age_s, row.last_seen_s + self._idle_s),
            )
            for row in query.execute(self._database)
            if not self._is_over(row, now_s)
        ]

    def end_by_id(self, id_: str) -> None:
        """End one session by its id from `list`.

        Raises:
            NotFound: there is none.
        """
        mine = peewee.fn.SUBSTR(SessionRow.secret_hash, 1, _ID_LETTERS) == id_
        with self._database.write():
            if not SessionRow.delete().where(mine).execute(self._database):
                raise NotFound(f"there is no login '{id_}'; `session list` shows those that there are")

    def end_all(self, user: str) -> int:
        """End all sessions of an account, and return their number."""
        with self._database.write():
            return int(SessionRow.delete().where(SessionRow.user == user).execute(self._database))

    def purge(self, now_s: float) -> int:
        """Remove the rows of ended sessions, and return their number."""
        over = (SessionRow.created_s <= now_s - self._max_age_s) | (SessionRow.last_seen_s <= now_s - self._idle_s)
        with self._database.write():
            return int(SessionRow.delete().where(over).execute(self._database))

    def _is_over(self, row: SessionRow, now_s: float) -> bool:
        if row.created_s > now_s + _CLOCK_SLACK_S:  # created while the clock was ahead: it would last too long
            return True
        return bool(now_s - row.created_s >= self._max_age_s or now_s - row.last_seen_s >= self._idle_s)

    def _mark_seen(self, secret_hash: str, now_s: int) -> None:
        try:
            with self._database.write():
                SessionRow.update(last_seen_s=now_s).where(SessionRow.secret_hash == secret_hash).execute(
                    self._database
                )
        except Unavailable:
            pass  # logged already, such as a full disk; pages can still be read


def csrf_token_of(cookie: str) -> str:
    """The CSRF token of a session, derived from its cookie, which it does not reveal."""
    return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
