"""The reasons for missing samples as meta.json keeps them, below a key that other readers pass over.

"missingData": {"flops_any": [{"reason": "host_silent", "hosts": "n[017-020]", "from": 1760000400, "to": ...}]}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.clusters.faults import whole_number
from cc_backend.model import Absence, Why
from cc_common.errors import HostlistError
from cc_common.hostlist import expand, fold

KEY = "missingData"

_END_OF_TIME_S = 2**37  # in the year 6325; dates end in 9999

_REASONS = {why.value: why for why in Why}


def absences_to_document(absences: Mapping[str, Sequence[Absence]]) -> dict[str, list[dict[str, Any]]]:
    """The absences by metric as a document; hosts are one list, such as `n[017-020]`, empty where it holds for all."""
    return {metric: [_to_document(one) for one in found] for metric, found in sorted(absences.items()) if found}


def absences_from_document(document: object) -> dict[str, tuple[Absence, ...]] | None:
    """The absences of a document, None where there is none; entries that cannot be read are left out."""
    if not isinstance(document, Mapping):
        return None
    found: dict[str, tuple[Absence, ...]] = {}
    for metric, entries in document.items():
        read = [_from_document(entry) for entry in entries] if isinstance(entries, list) else []
        known = tuple(one for one in read if one is not None)
        if known:
            found[str(metric)] = known
    return found


def _to_document(absence: Absence) -> dict[str, Any]:
    last = {} if absence.last_s is None else {"lastSample": absence.last_s}
    return {
        "reason": absence.why.value,
        "hosts": fold(absence.hosts),
        "from": absence.from_s,
        "to": absence.to_s,
        **last,
    }


def _time(value: object) -> int | None:
    """A time that can be shown as a date, else None."""
    time_s = whole_number(value)
    return time_s if time_s is not None and 0 <= time_s < _END_OF_TIME_S else None


def _from_document(entry: object) -> Absence | None:
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
    return Absence(why, names, from_s, to_s, last_s)
