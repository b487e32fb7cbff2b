"""Who may ask the store: tokens by their signature, what they may by the scopes or roles they carry.

Without a key everybody may everything, as in the reference. A token that carries neither scopes nor roles may write and
read; freeing and looking inside take a token that says so.
"""

from collections.abc import Collection

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.permissions import Permission, require_permission
from cc_backend.auth.signatures import SignatureVerifier
from cc_backend.errors import NotAllowed, NotAuthenticated
from cc_common.error_codes import ErrorCode

ANYBODY_CALLER = Caller("anybody", frozenset({Role.API}))
"""Who asks where no key is set."""

_UNSCOPED_PERMISSIONS = frozenset({Permission.METRICS_WRITE, Permission.METRICS_READ, Permission.METRICS_SELF})


class TokenGate:
    """Lets callers in; `signatures` None lets everybody in."""

    def __init__(self, signatures: SignatureVerifier | None, *, revoked: Collection[str] = ()) -> None:
        self._signatures = signatures
        self._revoked = frozenset(revoked)

    @property
    def is_open(self) -> bool:
        """Whether everybody may everything."""
        return self._signatures is None

    def admit(self, token: str | None, permission: Permission, now_s: float) -> Caller:
        """Who asks, if they may.

        Raises:
            NotAuthenticated: there is no token, or it is not good.
            NotAllowed: the token is good, but not for this.
        """
        if self._signatures is None:
            return ANYBODY_CALLER
        if not token:
            raise NotAuthenticated("this needs a token: Authorization: Bearer <token>", code=ErrorCode.TOKEN_MISSING)
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
