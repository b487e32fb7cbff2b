"""Retention holds: hosts of running jobs, requested from the backend, whose samples outlive the retention."""

import logging
import ssl
from typing import Any
from urllib.parse import urlsplit

import orjson

from cc_backend.model import RetentionHolds
from cc_common.errors import SettingsError

TIMEOUT_S = 10.0
_MAX_RESPONSE_BYTES = 16 << 20

logger = logging.getLogger(__name__)


def parse_used_nodes(body: bytes) -> dict[str, dict[str, int]]:
    """The hosts in a response, with 0 as time: `{"usedNodes": {cluster: [hosts]}}`, or the inner object.

    Raises ValueError for any other body.
    """
    document = orjson.loads(body)
    if isinstance(document, dict) and "usedNodes" in document:
        document = document["usedNodes"] or {}
    if not isinstance(document, dict) or not all(map(_is_host_list, document.values())):
        raise ValueError("the response does not name hosts by cluster")
    return {cluster: dict.fromkeys(hosts or (), 0) for cluster, hosts in document.items()}


def _is_host_list(hosts: object) -> bool:
    return hosts is None or (isinstance(hosts, list) and all(isinstance(host, str) for host in hosts))


class RetentionHoldsClient:
    """Requests the holds from one backend; its last response is used while it is unavailable."""

    def __init__(self, url: str, token: str) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise SettingsError("main.backend-url", f"main.backend-url: {url!r} must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._token = token
        self._last: RetentionHolds | None = None

    def fetch_or_last(self, before_s: int) -> RetentionHolds | None:
        """The hosts of jobs that started before `before_s`; None, so that nothing is removed, before any response."""
        found = self.fetch_fresh(
            before_s, "the last response is used" if self._last is not None else "nothing is freed"
        )
        if found is not None:
            self._last = found
        return self._last

    def fetch_fresh(self, before_s: int, consequence: str = "nothing is freed") -> RetentionHolds | None:
        """The hosts of jobs that started before `before_s`, from a new request; None if that fails.

        `consequence` is for the log: what happens if the request fails.
        """
        import httpx  # noqa: PLC0415 - only needed where a backend is set

        from cc_common.deadline_transport import deadline_client  # noqa: PLC0415

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        tls = ssl.create_default_context() if self._url.lower().startswith("https:") else None
        try:
            with (
                deadline_client(TIMEOUT_S, tls=tls) as client,
                client.stream(
                    "GET", f"{self._url}/api/jobs/used_nodes", params={"ts": before_s}, headers=headers
                ) as response,
            ):
                return parse_used_nodes(_read_body(response))
        except (httpx.HTTPError, ValueError) as error:
            logger.warning(
                "running jobs are not known url=%s reason=%s kept=%s",
                self._url,
                str(error) or type(error).__name__,
                consequence,
            )
            return None


def _read_body(response: Any) -> bytes:
    if response.status_code != 200:  # noqa: PLR2004 - OK
        raise ValueError(f"the backend answered with status {response.status_code}")
    body = b""
    for part in response.iter_bytes():
        body += part
        if len(body) > _MAX_RESPONSE_BYTES:
            raise ValueError(f"the response is over {_MAX_RESPONSE_BYTES} bytes")
    return body
