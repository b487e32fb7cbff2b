"""The reasons for missing samples as meta.json keeps them, below a key that other readers pass over.

"missingData": {"flops_any": [{"reason": "host_silent", "hosts": "n[017-020]", "from": 1760000400, "to": ...}]}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.clusters.faults import as_integer
from cc_backend.model import DataGap, GapReason
from cc_common.errors import HostlistError
from cc_common.hostlist import expand, fold

GAPS_KEY = "missingData"

_MAX_TIME_S = 2**37  # in the year 6325; dates end in 9999

_REASONS = {why.value: why for why in GapReason}


def gaps_to_json(absences: Mapping[str, Sequence[DataGap]]) -> dict[str, list[dict[str, Any]]]:
    """The absences by metric as a document; hosts are one list, such as `n[017-020]`, empty where it holds for all."""
    return {metric: [_gap_to_json(one) for one in found] for metric, found in sorted(absences.items()) if found}


def gaps_from_json(document: object) -> dict[str, tuple[DataGap, ...]] | None:
    """The absences of a document, None where there is none; entries that cannot be read are left out."""
    if not isinstance(document, Mapping):
        return None
    found: dict[str, tuple[DataGap, ...]] = {}
    for metric, entries in document.items():
        read = [_gap_from_json(entry) for entry in entries] if isinstance(entries, list) else []
        known = tuple(one for one in read if one is not None)
        if known:
            found[str(metric)] = known
    return found


def _gap_to_json(absence: DataGap) -> dict[str, Any]:
    last = {} if absence.last_sample_s is None else {"lastSample": absence.last_sample_s}
    return {
        "reason": absence.reason.value,
        "hosts": fold(absence.hosts),
        "from": absence.from_s,
        "to": absence.to_s,
        **last,
    }


def _time(value: object) -> int | None:
    """A time that can be shown as a date, else None."""
    time_s = as_integer(value)
    return time_s if time_s is not None and 0 <= time_s < _MAX_TIME_S else None


def _gap_from_json(entry: object) -> DataGap | None:
    if not isinstance(entry, Mapping):
        return None
    why, hosts = _REASONS.get(str(entry.get("reason"))), entry.get("hosts", "")
    from_s, to_s, last_s = (_time(entry.get(key)) for key in ("from", "to", "lastSample"))
    if why is None or not isinstance(hosts, str) or from_s is None or to_s is None:
        return None
    try:
        names = tuple(expand(hosts))
    except HostlistError:
        return None
    return DataGap(why, names, from_s, to_s, last_s)
