"""The status of an agent: as a JSON document, and as text for people."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Sequence

from cc_agent.sampler import CollectorStatus

WORKS, ABSENT, FAILS = "works", "absent", "fails"


def collector_documents(statuses: Iterable[CollectorStatus]) -> List[Dict[str, Any]]:
    """The state of each collector as JSON; `last_s` are the seconds since the last reading that worked."""
    return [
        {
            "name": status.name,
            "state": _state(status),
            "samples": status.samples,
            "readings": status.readings,
            "last_s": None if status.age_s is None else round(status.age_s, 1),
            "reading_ms": round(status.reading_s * 1000, 3),
            "cpu_ms": round(status.cpu_s * 1000, 3),
            "problem": status.problem,
            "advice": status.advice,
        }
        for status in statuses
    ]


def _state(status: CollectorStatus) -> str:
    if status.absent:
        return ABSENT
    return FAILS if status.problem else WORKS


def format_status(document: Dict[str, Any]) -> str:
    """The status as text: a head, a table of the collectors, and a line for each that cannot work."""
    place = f"{document['hostname']} of cluster {document['cluster']}"
    times = f"every {document['interval_s']} s, up {format_age(document['uptime_s'])}"
    lines = [
        f"cc-agent {document['version']}: {place}, {times}, {document['skipped_ticks']} ticks skipped",
        f"configuration: {document['configuration']}",
        "",
    ]
    rows = [("collector", "state", "samples", "last", "cpu ms")]
    problems = []
    for collector in document["collectors"]:
        last = "never" if collector["last_s"] is None else f"{format_age(collector['last_s'])} ago"
        rows.append(
            (collector["name"], collector["state"], str(collector["samples"]), last, f"{collector['cpu_ms']:.2f}")
        )
        if collector["problem"]:
            advice = f"; do: {collector['advice']}" if collector["advice"] and collector["state"] == FAILS else ""
            problems.append(f"{collector['name']}: {collector['problem']}{advice}")
    lines += _table(rows)
    lines += ["", *problems] if problems else []
    lines += ["", *(f"sink {name}" for name in document["sinks"])]
    lines += [
        f"receiver {receiver['name']}: {receiver['accepted']} messages accepted, {receiver['rejected']} rejected"
        for receiver in document.get("receivers", ())
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> List[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def format_age(seconds: float) -> str:
    """A length of time in its largest unit and the next: `45 s`, `2 h 5 min`."""
    whole = int(seconds)
    for size, name, next_size, next_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {name} {rest} {next_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"
