"""Tokens in use that expire soon: reported three weeks before, in the log, in /metrics and to administrators."""

import logging
from collections.abc import Collection

from cc_backend.auth.tokens import TokenRecord, Tokens

logger = logging.getLogger(__name__)

WARN_BEFORE_S = 21 * 86400
"""A token is reported this long before it expires."""

IN_USE_S = 30 * 86400
"""A token that was not used for this long is not reported."""

MAX_REPORTED = 50
_DAY_S = 86400


def expiring_tokens(tokens: Tokens, now_s: float, clusters: Collection[str] = ()) -> list[TokenRecord]:
    """The tokens in use that expire within three weeks, the next first, at most 50.

    With `clusters` only those that are limited to some of these clusters.
    """
    soon = tokens.expiring(from_s=now_s, to_s=now_s + WARN_BEFORE_S, used_since_s=now_s - IN_USE_S, limit=MAX_REPORTED)
    return [record for record in soon if not clusters or (record.clusters and set(record.clusters) <= set(clusters))]


def log_expiring_tokens(tokens: Tokens, now_s: float) -> int:
    """Log each token that expires soon, and return their number. Periodic task, once a day."""
    soon = expiring_tokens(tokens, now_s)
    for record in soon:
        logger.warning(
            "a token ends soon id=%s account=%s scopes=%s days=%d advice=%s",
            record.jti,
            record.user,
            ",".join(record.scopes or ("as its roles",)),
            days_left(record, now_s),
            "make a new one with `cc-backend token create`",
        )
    return len(soon)


def days_left(record: TokenRecord, now_s: float) -> int:
    """Whole days until a token expires."""
    return int(((record.expires_s or now_s) - now_s) // _DAY_S)
