"""Client of the backend: senders for the three kinds of events, and the cluster descriptions."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, Optional
from urllib.parse import quote

from cc_common.delivery import DeliveryOutcome, HttpSender, Timeouts
from cc_common.delivery.http_sender import tls_context
from cc_common.error_codes import read_problem
from cc_common.errors import DeliveryError
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.errors import TopologyError
from cc_slurm_adapter.response_decision import make_interpreter
from cc_slurm_adapter.settings import BackendConnectionSettings
from cc_slurm_adapter.topology import ClusterTopology, choose_cluster, parse_cluster, read_topology

PATHS = {"start": "/api/jobs/start_job/", "stop": "/api/jobs/stop_job/", "nodes": "/api/nodestate/"}
WORKERS = 4
"""Number of events sent in parallel."""
_OK = 200
_SHOWN = 300
_MAX_DESCRIPTION_BYTES = 64 << 20


def make_senders(url: str, settings: BackendConnectionSettings) -> Dict[str, HttpSender]:
    """A sender for each kind of event. Raises DeliveryError for an unusable address, token or CA file."""
    return {
        kind: HttpSender(
            url + path,
            token=settings.token,
            ca_file=settings.ca_file or None,
            timeouts=Timeouts(connect_s=min(5.0, settings.timeout_s), total_s=settings.timeout_s),
            content_type="application/json",
            interpret=make_interpreter(kind),
            connections=WORKERS,
        )
        for kind, path in PATHS.items()
    }


def send_node_states(sender: HttpSender, report: NodeStateReport) -> DeliveryOutcome:
    """Send the state of all nodes once."""
    return sender.send(json.dumps(report.to_document(), separators=(",", ":")).encode())


def fetch_topology(
    url: str, settings: BackendConnectionSettings, cluster: str, cache_file: Optional[Path] = None
) -> ClusterTopology:
    """The topology of a cluster from the backend, or from `cache_file` if it is unavailable. Raises TopologyError."""
    try:
        document = _fetch_description(url, settings, cluster)
        topology = parse_cluster(document, source=url)
    except TopologyError:
        if cache_file is None or not cache_file.exists():
            raise
        return read_topology(cache_file, cluster)
    if cache_file is not None:
        _save_copy(cache_file, document)
    return topology


def _save_copy(path: Path, document: Any) -> None:
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):  # it is only a cache
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(path)


def _fetch_description(url: str, settings: BackendConnectionSettings, cluster: str) -> Any:
    import httpx  # noqa: PLC0415 only who asks needs it

    from cc_common.deadline_transport import deadline_client  # noqa: PLC0415 same

    address = f"{url}/api/clusters/?cluster={quote(cluster, safe='')}"
    headers = {"Accept": "application/json"}
    if settings.token:
        headers["Authorization"] = f"Bearer {settings.token.strip()}"
    try:
        tls = tls_context(settings.ca_file or None) if url.lower().startswith("https:") else None
        with (
            deadline_client(settings.timeout_s, tls=tls) as client,
            client.stream("GET", address, headers=headers) as response,
        ):
            status, body = response.status_code, _read_limited(response.iter_bytes())
    except (httpx.HTTPError, httpx.InvalidURL, OSError, DeliveryError) as error:
        raise TopologyError(f"{address}: no response ({type(error).__name__}: {error})") from error
    if status != _OK:
        text = " ".join(read_problem(body).text.split())[:_SHOWN]
        raise TopologyError(f"{address}: HTTP {status}{f': {text}' if text else ''}")
    try:
        return choose_cluster(json.loads(body), cluster)
    except (ValueError, RecursionError) as error:
        raise TopologyError(f"{address}: the response is not JSON") from error


def _read_limited(pieces: Iterator[bytes]) -> bytes:
    """The whole body, 64 MiB at most. Raises DeliveryError if it is larger."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > _MAX_DESCRIPTION_BYTES:
            raise DeliveryError(f"larger than {_MAX_DESCRIPTION_BYTES >> 20} MiB")
    return bytes(body)
