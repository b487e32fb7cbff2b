"""A finding as a JSON object: as it is stored with the job and as the API returns it."""

from collections.abc import Mapping
from typing import Any

from cc_backend.insight.findings import FindingCode
from cc_backend.model import Finding, Level


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """The finding as a JSON object without empty values."""
    document: dict[str, Any] = {
        "code": str(finding.code),
        "level": finding.level.value,
        "metric": finding.metric,
        "hosts": list(finding.hosts),
        "nodes": finding.node_count,
        "since": finding.since_s,
        "coreHours": round(finding.core_hours, 3),
        "gpuHours": round(finding.gpu_hours, 3),
        "facts": {key: _round_for_json(value) for key, value in finding.facts.items()},
    }
    return {key: value for key, value in document.items() if value not in ("", [], 0, 0.0, None, {})}


def finding_from_json(document: Mapping[str, Any]) -> Finding | None:
    """The finding of a JSON object by `finding_to_json`; None for an unknown rule."""
    if document["code"] not in set(FindingCode):
        return None
    return Finding(
        code=FindingCode(document["code"]),
        level=Level(document["level"]),
        metric=document.get("metric", ""),
        hosts=tuple(document.get("hosts", ())),
        node_count=document.get("nodes", 0),
        since_s=document.get("since"),
        core_hours=document.get("coreHours", 0.0),
        gpu_hours=document.get("gpuHours", 0.0),
        facts=document.get("facts", {}),
    )


def _round_for_json(value: object) -> object:
    """A float with 6 significant digits, None for one that JSON cannot hold; other values unchanged."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value
