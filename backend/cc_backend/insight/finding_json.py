"""A finding as a JSON object: as it is kept with the job, and as the API tells it."""

from collections.abc import Mapping
from typing import Any

from cc_backend.insight.findings import Code
from cc_backend.model import Finding, Level


def finding_to_document(finding: Finding) -> dict[str, Any]:
    """The finding as JSON has it; what is empty is left out."""
    document: dict[str, Any] = {
        "code": str(finding.code),
        "level": finding.level.value,
        "metric": finding.metric,
        "hosts": list(finding.hosts),
        "nodes": finding.nodes,
        "since": finding.since_s,
        "coreHours": round(finding.core_hours, 3),
        "gpuHours": round(finding.gpu_hours, 3),
        "facts": {key: _short(value) for key, value in finding.facts.items()},
    }
    return {key: value for key, value in document.items() if value not in ("", [], 0, 0.0, None, {})}


def finding_from_document(document: Mapping[str, Any]) -> Finding | None:
    """The finding that `finding_to_document` wrote; None for a rule that this program does not know."""
    if document["code"] not in set(Code):
        return None
    return Finding(
        code=Code(document["code"]),
        level=Level(document["level"]),
        metric=document.get("metric", ""),
        hosts=tuple(document.get("hosts", ())),
        nodes=document.get("nodes", 0),
        since_s=document.get("since"),
        core_hours=document.get("coreHours", 0.0),
        gpu_hours=document.get("gpuHours", 0.0),
        facts=document.get("facts", {}),
    )


def _short(value: object) -> object:
    """Six digits are more than anybody reads; a number that JSON cannot hold becomes none."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value
