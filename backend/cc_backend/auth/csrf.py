"""CSRF tokens in pages, masked differently each time, so that compressed lengths reveal nothing (BREACH)."""

import base64
import binascii
import hmac
import secrets

_SHOWN = "ascii"


def mask_token(token: str) -> str:
    """The token behind a random mask, different each time."""
    plain = token.encode()
    mask = secrets.token_bytes(len(plain))
    return base64.urlsafe_b64encode(mask + _xor(plain, mask)).decode(_SHOWN)


def matches_token(given: str, token: str) -> bool:
    """Whether a given text is a masked form of the token."""
    plain = token.encode()
    try:
        both = base64.b64decode(given.encode(_SHOWN), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return False
    return len(both) == 2 * len(plain) and hmac.compare_digest(_xor(both[: len(plain)], both[len(plain) :]), plain)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
