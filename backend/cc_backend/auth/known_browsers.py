"""Browsers that have logged in before: a random secret in a long-lived cookie, of which the database has the hash.

The cookie does not log in. It gives its browser separate attempts at the password of its account, so that others
who use up the attempts of the account do not lock out its owner.
"""

import hashlib
import secrets

from cc_backend.auth.tables import KnownBrowserRow
from cc_backend.db.database import Database
from cc_backend.db.fields import stored_integer

MAX_BROWSERS = 20
"""Maximum browsers per account; the least recently used is forgotten."""
_SECRET_BYTES = 32
_MAX_COOKIE_LENGTH = 128


class KnownBrowsers:
    """The known browsers of each account. They are removed with the account, and when its password is changed."""

    max_age_s = 365 * 86400

    def __init__(self, database: Database) -> None:
        self._database = database

    def identify(self, cookie: str, user: str, now_s: float) -> str:
        """An identifier of the browser if it has logged in to this account within a year, otherwise empty."""
        if not cookie or len(cookie) > _MAX_COOKIE_LENGTH or not cookie.isascii():
            return ""
        secret_hash = _hash(cookie)
        row = self._database.first_row(
            "SELECT used_s FROM known_browser WHERE secret_hash = ? AND user_id = ?", secret_hash, user
        )
        return secret_hash if row is not None and now_s - stored_integer(row[0]) < self.max_age_s else ""

    def remember(self, cookie: str, user: str, now_s: float) -> str:
        """The cookie for a browser that has just logged in: its present one if valid for this account, or a new one."""
        known = self.identify(cookie, user, now_s)
        value = cookie if known else secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.write():
            if known:
                KnownBrowserRow.update(used_s=int(now_s)).where(KnownBrowserRow.secret_hash == known).execute(
                    self._database
                )
            else:
                KnownBrowserRow.insert(secret_hash=_hash(value), user=user, used_s=int(now_s)).execute(self._database)
                self._forget_oldest(user)
        return value

    def _forget_oldest(self, user: str) -> None:
        mine = KnownBrowserRow.user == user
        newest = KnownBrowserRow.select(KnownBrowserRow.secret_hash).where(mine)
        newest = newest.order_by(KnownBrowserRow.used_s.desc(), KnownBrowserRow.secret_hash).limit(MAX_BROWSERS)
        KnownBrowserRow.delete().where(mine, KnownBrowserRow.secret_hash.not_in(newest)).execute(self._database)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
