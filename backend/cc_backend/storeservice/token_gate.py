"""Access to the store: tokens are checked by their signature, permissions by the scopes or roles they carry.

Without a key all callers have all permissions, as in the reference. A token with neither scopes nor roles may write and
read; freeing samples and the inventory need a scope or role.
"""

from collections.abc import Collection

from werkzeug.wrappers import Request

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.permissions import Permission, require_permission
from cc_backend.auth.signatures import SignatureVerifier
from cc_backend.errors import NotAllowed, NotAuthenticated
from cc_backend.http.presented_token import token_from_headers, token_missing
from cc_backend.httpserver.wsgi import CALLER_KEY
from cc_common.error_codes import ErrorCode

ANYBODY_CALLER = Caller("anybody", frozenset({Role.API}))
"""The caller of every request if no key is set."""

_UNSCOPED_PERMISSIONS = frozenset({Permission.METRICS_WRITE, Permission.METRICS_READ, Permission.METRICS_SELF})


class TokenGate:
    """Authenticates callers by token; with `signatures` None everybody is admitted."""

    def __init__(self, signatures: SignatureVerifier | None, *, revoked: Collection[str] = ()) -> None:
        self._signatures = signatures
        self._revoked = frozenset(revoked)

    @property
    def is_open(self) -> bool:
        """Whether all callers have all permissions."""
        return self._signatures is None

    def admit(self, token: str | None, permission: Permission, now_s: float) -> Caller:
        """The caller of a request, if they have the permission.

        Raises:
            NotAuthenticated: the token is missing, invalid or revoked.
            NotAllowed: the token is valid, but lacks the permission.
        """
        if self._signatures is None:
            return ANYBODY_CALLER
        if not token:
            raise token_missing()
        verified = self._signatures.verify(token, now_s)
        if verified.jti in self._revoked:
            raise NotAuthenticated("the token was revoked; issue a new one", code=ErrorCode.TOKEN_REVOKED)
        caller = verified.caller
        if caller.scopes is None and not caller.roles:
            if permission not in _UNSCOPED_PERMISSIONS:
                raise NotAllowed(
                    "the token carries neither scopes nor roles: it may write and read only",
                    code=ErrorCode.SCOPE_MISSING,
                )
            return caller
        require_permission(caller, permission)
        return caller

    def admit_request(self, incoming: Request, permission: Permission, now_s: float) -> Caller:
        """The caller of a request by the token in its headers, also for the HTTP server; raises as `admit`."""
        caller = self.admit(token_from_headers(incoming), permission, now_s)
        incoming.environ[CALLER_KEY] = caller.name
        return caller
