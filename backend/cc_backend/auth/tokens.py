"""Tokens of programs: Ed25519-signed JWTs, with `jti` and scopes, or without as ClusterCockpit 1.5 issues them."""

import logging
import secrets
import threading
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from joserfc import jwt

from cc_backend.auth.caller import Caller, Role, TokenScope
from cc_backend.auth.permissions import grantable_scopes
from cc_backend.auth.signatures import ALGORITHM, EdDSAOnly, SignatureVerifier, VerifiedToken
from cc_backend.auth.tables import TokenRow, UserRow
from cc_backend.auth.token_cache import TokenCache
from cc_backend.auth.token_keys import PRIVATE_KEY_SETTING, TokenKeys
from cc_backend.auth.users import User
from cc_backend.db.database import Database
from cc_backend.db.fields import parse_stored_json, stored_integer, stored_strings
from cc_backend.errors import InvalidInput, NotAuthenticated, NotFound, Unavailable
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

_USED_RESOLUTION_S = 300  # maximum age of `last_used_s`: batches arrive many times per second


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A stored token, without the token itself. Times are Unix seconds, None if unset."""

    jti: str
    user: str
    name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...] | None
    clusters: tuple[str, ...]
    created_s: int
    expires_s: int | None
    last_used_s: int | None
    revoked_s: int | None


class Tokens:
    """Issues and verifies tokens.

    With `validate_user` the subject of a token of ClusterCockpit 1.5 must be an account, and has the account's roles.
    """

    def __init__(self, database: Database, keys: TokenKeys | None, *, validate_user: bool = False) -> None:
        self._database = database
        self._keys = keys
        self._validate_user = validate_user
        self._signatures = None if keys is None else SignatureVerifier(keys.public)
        self._cache = TokenCache()
        self._pending_last_used: dict[str, int] = {}  # jti -> pending value of the column last_used_s
        self._used_lock = threading.Lock()

    def issue(
        self,
        user: User,
        roles: Collection[str] | None = None,
        scopes: Collection[str] | None = None,
        clusters: Collection[str] = (),
        *,
        max_age_s: float | None,
        now_s: float,
        name: str = "",
    ) -> str:
        """Issue a token for an account.

        `roles` None means all roles of the account. `scopes` None makes a token as ClusterCockpit 1.5 issues it, which
        has the rights of its roles. `clusters` limits it to these. With `max_age_s` None it never expires.

        Raises:
            InvalidInput: the account may not have a role or scope, or the lifetime is not positive.
            Unavailable: there is no private key.
        """
        held = frozenset(user.roles if roles is None else roles)
        _check_grant(user, held, scopes, max_age_s)
        if self._keys is None or self._keys.private is None:
            text = f"tokens cannot be issued: {PRIVATE_KEY_SETTING} is not set"
            raise Unavailable(text, code=ErrorCode.TOKENS_DISABLED)
        record = TokenRecord(
            jti=secrets.token_hex(16),  # an id that begins with a hyphen would be an option on the command line
            user=user.name,
            name=name,
            roles=tuple(sorted(held)),
            scopes=None if scopes is None else tuple(sorted(scopes)),
            clusters=tuple(sorted(clusters)),
            created_s=int(now_s),
            expires_s=None if max_age_s is None else int(now_s + max_age_s),
            last_used_s=None,
            revoked_s=None,
        )
        with self._database.write():
            TokenRow.insert(**asdict(record)).execute(self._database)
        header = {"alg": ALGORITHM, "typ": "JWT"}
        token = jwt.encode(header, _claims(record), self._keys.private, registry=EdDSAOnly())
        logger.info("issued token jti=%s user=%s scopes=%s", record.jti, user.name, ",".join(record.scopes or ("-",)))
        return token

    def verify(self, token: str, now_s: float) -> Caller:
        """The caller of a token; a revocation or a change of its account is effective from the next call on.

        Raises:
            NotAuthenticated: not signed by us, expired, revoked, or its account was removed or disabled.
        """
        if self._signatures is None:
            raise NotAuthenticated("this server takes no tokens: no token key is set", code=ErrorCode.TOKENS_DISABLED)
        verified = self._signatures.verify(token, now_s)
        return self._cache.resolve(verified, lambda: self._look_up(verified, now_s))

    def _look_up(self, verified: VerifiedToken, now_s: float) -> Caller:
        """The caller by the present content of the database."""
        return self._issued_here(verified, now_s) if verified.jti else self._issued_elsewhere(verified)

    def flush_last_used(self) -> int:
        """Store when tokens were last used, and return their number; a periodic task, so that no request waits for it.

        Raises:
            Unavailable: the database cannot be written; the next call tries again.
        """
        with self._used_lock:
            used = list(self._pending_last_used.items())
        if used:
            with self._database.write():
                for jti, used_s in used:
                    TokenRow.update(last_used_s=used_s).where(TokenRow.jti == jti).execute(self._database)
        with self._used_lock:
            for jti, used_s in used:
                if self._pending_last_used.get(jti) == used_s:
                    del self._pending_last_used[jti]
        return len(used)

    def list(self, user: str | None = None) -> list[TokenRecord]:
        """All stored tokens, or those of one account, newest first."""
        query = TokenRow.select().order_by(TokenRow.created_s.desc(), TokenRow.jti)
        if user is not None:
            query = query.where(TokenRow.user == user)
        return [_record(row) for row in query.execute(self._database)]

    def expiring(self, *, from_s: float, to_s: float, used_since_s: float, limit: int) -> Sequence[TokenRecord]:
        """The valid tokens that expire in [from_s, to_s] and were used since `used_since_s`, earliest end first."""
        query = (
            TokenRow.select()
            .join(UserRow, on=(UserRow.name == TokenRow.user))
            .where(
                TokenRow.revoked_s.is_null(),
                UserRow.disabled_s.is_null(),
                TokenRow.expires_s.between(from_s, to_s),
                TokenRow.last_used_s >= used_since_s,
            )
            .order_by(TokenRow.expires_s, TokenRow.jti)
            .limit(limit)
        )
        return [_record(row) for row in query.execute(self._database)]

    def revoke(self, jti: str, *, now_s: float) -> None:
        """Revoke a token, effective at once; no error if it is revoked already.

        Raises:
            NotFound: no token with this id was issued here.
        """
        with self._database.write():
            if not TokenRow.select().where(TokenRow.jti == jti).exists(self._database):
                raise NotFound(f"there is no token '{jti}'")
            TokenRow.update(revoked_s=int(now_s)).where((TokenRow.jti == jti) & TokenRow.revoked_s.is_null()).execute(
                self._database
            )
        logger.info("revoked token jti=%s", jti)

    def revoke_all(self, user: str, *, now_s: float) -> int:
        """Revoke all valid tokens of an account, and return their number."""
        with self._database.write():
            valid = (TokenRow.user == user) & TokenRow.revoked_s.is_null()
            count = int(TokenRow.update(revoked_s=int(now_s)).where(valid).execute(self._database))
        logger.info("revoked tokens user=%s number=%d", user, count)
        return count

    def _issued_here(self, verified: VerifiedToken, now_s: float) -> Caller:
        """The caller of a token that was issued here, with those of its roles that its account still has."""
        # Queried at every request, so that a revocation or a change of the account by any process is effective at once:
        # by primary key and without the query builder this takes some ten microseconds.
        row = self._database.first_row(
            "SELECT t.revoked_s, t.last_used_s, u.roles, u.projects, u.disabled_s "
            'FROM token AS t LEFT JOIN "user" AS u ON u.name = t."user" WHERE t.jti = ?',
            verified.jti,
        )
        if row is None:
            raise NotAuthenticated("the token is not known here; issue a new one", code=ErrorCode.TOKEN_UNKNOWN)
        revoked_s, last_used_s, roles, projects, disabled_s = row
        if revoked_s is not None:
            raise NotAuthenticated("the token was revoked; issue a new one", code=ErrorCode.TOKEN_REVOKED)
        if roles is None:
            raise _account_gone(verified.caller.name)
        if disabled_s is not None:
            raise _account_disabled(verified.caller.name)
        if now_s - stored_integer(last_used_s) >= _USED_RESOLUTION_S:
            self._mark_used(verified.jti, int(now_s))
        held = _remaining_roles(verified.caller.roles, frozenset(stored_strings(parse_stored_json(roles))))
        return replace(verified.caller, roles=held, projects=stored_strings(parse_stored_json(projects)))

    def _issued_elsewhere(self, verified: VerifiedToken) -> Caller:
        """The caller of a token of ClusterCockpit 1.5, which needs an account here only with `validate_user`."""
        caller = verified.caller
        account = self._database.first_row('SELECT roles, projects, disabled_s FROM "user" WHERE name = ?', caller.name)
        if self._was_removed(verified) or (account is None and self._validate_user):
            raise _account_gone(caller.name)
        if account is None:
            return caller
        roles, projects = (
            frozenset(stored_strings(parse_stored_json(account[0]))),
            stored_strings(parse_stored_json(account[1])),
        )
        if account[2] is not None:
            raise _account_disabled(caller.name)
        if self._validate_user:
            return replace(caller, roles=roles, projects=projects)
        return replace(caller, roles=_remaining_roles(caller.roles, roles))

    def _was_removed(self, verified: VerifiedToken) -> bool:
        """Whether an account with the token's name was removed after the token was issued."""
        row = self._database.first_row("SELECT removed_s FROM removed_user WHERE name = ?", verified.caller.name)
        return row is not None and (type(row[0]) is not int or verified.issued_s <= row[0])

    def _mark_used(self, jti: str, now_s: int) -> None:
        with self._used_lock:
            self._pending_last_used[jti] = now_s


def _remaining_roles(granted: frozenset[str], account: frozenset[str]) -> frozenset[str]:
    """The roles of a token that its account still has.

    `api` alone is a service that sees all jobs: losing the other roles must not make one of a user's token.
    """
    remaining = granted & account
    return frozenset() if remaining == {Role.API} != granted else remaining


def _account_gone(name: str) -> NotAuthenticated:
    return NotAuthenticated(f"the token's account '{name}' does not exist", code=ErrorCode.ACCOUNT_UNKNOWN)


def _account_disabled(name: str) -> NotAuthenticated:
    text = f"the token's account '{name}' is disabled; ask an administrator"
    return NotAuthenticated(text, code=ErrorCode.ACCOUNT_DISABLED)


def _check_grant(user: User, roles: frozenset[str], scopes: Collection[str] | None, max_age_s: float | None) -> None:
    if not roles or not roles <= user.roles:
        raise InvalidInput(f"a token of '{user.name}' may have these roles: {', '.join(sorted(user.roles)) or 'none'}")
    if max_age_s is not None and max_age_s < 1:
        raise InvalidInput("the life of a token must be a second or more")
    if scopes is None:
        return
    unknown = set(scopes) - set(TokenScope)
    if unknown:
        raise InvalidInput(f"there is no scope '{min(unknown)}'; scopes are {', '.join(TokenScope)}")
    allowed = grantable_scopes(roles)
    if not scopes or not set(scopes) <= allowed:
        held = f"'{user.name}' with the roles {', '.join(sorted(roles))}"
        raise InvalidInput(f"a token of {held} may have these scopes: {', '.join(sorted(allowed)) or 'none'}")


def _claims(record: TokenRecord) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "sub": record.user,
        "roles": list(record.roles),
        "iat": record.created_s,
        "jti": record.jti,
    }
    if record.expires_s is not None:
        claims["exp"] = record.expires_s
    if record.scopes is not None:
        claims["scopes"] = list(record.scopes)
    if record.clusters:
        claims["clusters"] = list(record.clusters)
    return claims


def _record(row: TokenRow) -> TokenRecord:
    return TokenRecord(
        jti=row.jti,
        user=row.user,
        name=row.name,
        roles=stored_strings(row.roles),
        scopes=None if row.scopes is None else stored_strings(row.scopes),
        clusters=stored_strings(row.clusters),
        created_s=row.created_s,
        expires_s=row.expires_s,
        last_used_s=row.last_used_s,
        revoked_s=row.revoked_s,
    )
