"""Verification of signed tokens: signature, claims and validity period. Needs no database."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from cc_backend.auth.caller import Caller
from cc_backend.errors import NotAuthenticated
from cc_common.error_codes import ErrorCode

ALGORITHM = "EdDSA"
_CACHE_SIZE = 4096
_MAX_TOKEN_LENGTH = 8192


class EdDSAOnly(JWSRegistry):
    """Accepts one algorithm only, whatever the header of a token says.

    joserfc warns at every use that RFC 9864 renames EdDSA to Ed25519; existing tokens say EdDSA.
    """

    def get_alg(self, name: str) -> Any:
        """The algorithm of this name; raises UnsupportedAlgorithmError for any other than EdDSA."""
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[ALGORITHM]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a token with a valid signature; revocation and account are not checked."""

    caller: Caller
    jti: str
    issued_s: float
    not_before_s: float
    expires_s: float


class SignatureVerifier:
    """Verifies tokens with one public key; thread-safe. Without `requires_subject` a token may lack the claim `sub`."""

    def __init__(self, key: OKPKey, *, requires_subject: bool = True) -> None:
        self._key = key
        self._requires_subject = requires_subject
        self._cache: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str, now_s: float) -> VerifiedToken:
        """The claims of a token; raises NotAuthenticated if its signature or its validity period is wrong."""
        verified = self._verified(token)
        if now_s >= verified.expires_s:
            raise NotAuthenticated("the token has expired; issue a new one", code=ErrorCode.TOKEN_EXPIRED)
        if now_s < verified.not_before_s:
            text = "the token is not valid yet; compare the clocks"
            raise NotAuthenticated(text, code=ErrorCode.TOKEN_NOT_YET_VALID)
        return verified

    def _verified(self, token: str) -> VerifiedToken:
        if len(token) > _MAX_TOKEN_LENGTH:
            raise NotAuthenticated("the token is too long", code=ErrorCode.TOKEN_INVALID)
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
        verified = _checked_claims(_decode(token, self._key), subject_needed=self._requires_subject)
        with self._lock:
            self._cache[key] = verified
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return verified


def _decode(token: str, key: OKPKey) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(token, key, registry=EdDSAOnly()).claims
    except (JoseError, ValueError) as error:
        text = "the token is damaged or was not signed here"
        raise NotAuthenticated(text, code=ErrorCode.TOKEN_INVALID) from error
    return claims


def _checked_claims(claims: Mapping[str, Any], *, subject_needed: bool) -> VerifiedToken:
    subject = claims.get("sub") or ("" if subject_needed else "unnamed")
    if not isinstance(subject, str) or not subject:
        raise NotAuthenticated("the token names no account (claim 'sub')", code=ErrorCode.TOKEN_INVALID)
    scopes = claims.get("scopes")
    jti = claims.get("jti", "")
    if not isinstance(jti, str):
        raise NotAuthenticated("the token's claim 'jti' must be a string", code=ErrorCode.TOKEN_INVALID)
    caller = Caller(
        name=subject,
        roles=frozenset(_string_list(claims, "roles")),
        scopes=None if scopes is None else frozenset(_string_list(claims, "scopes")),
        allowed_clusters=_string_list(claims, "clusters"),
        kind="token",
    )
    return VerifiedToken(
        caller,
        jti,
        issued_s=_time(claims, "iat", missing=float("-inf")),
        not_before_s=_time(claims, "nbf", missing=float("-inf")),
        expires_s=_time(claims, "exp", missing=float("inf")),
    )


def _string_list(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = claims.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        text = f"the token's claim '{name}' must be a list of strings"
        raise NotAuthenticated(text, code=ErrorCode.TOKEN_INVALID)
    return tuple(value)


def _time(claims: Mapping[str, Any], name: str, *, missing: float) -> float:
    value = claims.get(name)
    if value is None:
        return missing
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        text = f"the token's claim '{name}' must be a time in seconds"
        raise NotAuthenticated(text, code=ErrorCode.TOKEN_INVALID)
    return float(value)
