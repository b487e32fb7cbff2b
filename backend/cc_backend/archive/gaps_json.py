"""Reads and writes data gaps in meta.json, under a key that other readers ignore.

"missingData": {"flops_any": [{"reason": "host_silent", "hosts": "n[017-020]", "from": 1760000400, "to": ...}]}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.model import DataGap, GapReason
from cc_common.errors import HostlistError
from cc_common.hostlist import expand, fold
from cc_common.json_values import ValueFault, as_integer

GAPS_KEY = "missingData"

_MAX_TIME_S = 2**37 - 1  # in the year 6325; dates end in 9999

_REASONS = {reason.value: reason for reason in GapReason}


def gaps_to_json(gaps: Mapping[str, Sequence[DataGap]]) -> dict[str, list[dict[str, Any]]]:
    """The gaps by metric as JSON; hosts are one host list such as `n[017-020]`, empty for all hosts."""
    return {metric: [_gap_to_json(gap) for gap in found] for metric, found in sorted(gaps.items()) if found}


def gaps_from_json(document: object) -> dict[str, tuple[DataGap, ...]] | None:
    """Metric -> gaps of a JSON document, None if it is not an object; unreadable entries are left out."""
    if not isinstance(document, Mapping):
        return None
    found: dict[str, tuple[DataGap, ...]] = {}
    for metric, entries in document.items():
        read = [_gap_from_json(entry) for entry in entries] if isinstance(entries, list) else []
        known = tuple(gap for gap in read if gap is not None)
        if known:
            found[str(metric)] = known
    return found


def _gap_to_json(gap: DataGap) -> dict[str, Any]:
    last = {} if gap.last_sample_s is None else {"lastSample": gap.last_sample_s}
    return {
        "reason": gap.reason.value,
        "hosts": fold(gap.hosts),
        "from": gap.from_s,
        "to": gap.to_s,
        **last,
    }


def _time(value: object) -> int | None:
    """A time that can be shown as a date, otherwise None."""
    try:
        return as_integer(value, 0, _MAX_TIME_S)
    except ValueFault:
        return None


def _gap_from_json(entry: object) -> DataGap | None:
    if not isinstance(entry, Mapping):
        return None
    reason, hosts = _REASONS.get(str(entry.get("reason"))), entry.get("hosts", "")
    from_s, to_s, last_s = (_time(entry.get(key)) for key in ("from", "to", "lastSample"))
    if reason is None or not isinstance(hosts, str) or from_s is None or to_s is None:
        return None
    try:
        names = tuple(expand(hosts))
    except HostlistError:
        return None
    return DataGap(reason, names, from_s, to_s, last_s)
