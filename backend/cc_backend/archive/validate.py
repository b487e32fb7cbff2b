"""Validation of meta.json and data.json, with two severities.

Structural faults are errors: some reader cannot use the document. Strict faults are warnings: the published schema
forbids them, though real archives, including those of the schema's authors, are full of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from cc_backend.clusters.faults import DocumentReader, Fault, Faults, is_number, quoted_value
from cc_backend.clusters.unit_json import unit_from_json
from cc_backend.model import JobState, Scope

_SHARED = ("none", "single_user", "multi_user")
_OPTIONAL_INTEGERS = ("arrayJobId", "walltime", "requestedMemory", "submitTime", "smt", "numAcc", "numHwthreads", "id")
_POSITIVE = ("walltime", "requestedMemory", "numAcc", "numHwthreads", "duration")
_MAX_STATUS = 3
_BASES = frozenset({"B", "F", "B/s", "F/s", "CPI", "IPC", "Hz", "W", "J", "°C", ""})
_PREFIXES = frozenset({"", "K", "M", "G", "T", "P", "E"})
_NEEDED_STATISTICS = ("cpu_user", "cpu_load", "mem_used", "flops_any", "mem_bw")
_NEEDED_DATA = (*_NEEDED_STATISTICS, "net_bw")
_SHORTEST_STATISTICS_SERIES = 3
_ANY_CPU = frozenset({"node", "socket", "memoryDomain", "core", "hwthread"})
_SCOPES_BY_METRIC: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("mem_used", "net_bw", "cpu_load", "eth_read_bw", "eth_write_bw"), frozenset({"node"})),
    **dict.fromkeys(("ic_rcv_packets", "ic_send_packets", "ic_read_bw", "ic_write_bw"), frozenset({"node"})),
    **dict.fromkeys(("flops_any", "flops_dp", "flops_sp", "ipc", "cpu_user", "clock"), _ANY_CPU),
    "vectorization_ratio": _ANY_CPU,
    "mem_bw": frozenset({"node", "socket", "memoryDomain"}),
    **dict.fromkeys(("cpu_power", "mem_power"), frozenset({"node", "socket"})),
    **dict.fromkeys(("acc_utilization", "acc_mem_used", "acc_power"), frozenset({"accelerator"})),
}


def validate_meta(document: object, *, strict: bool = False) -> list[Fault]:
    """The faults of a meta.json; with `strict` also violations of the published schema, as warnings."""
    findings = Faults()
    if not isinstance(document, Mapping):
        findings.error("", f"must be an object, not {quoted_value(document)}")
        return findings.items
    part = DocumentReader(document, "", findings)
    _check_identity(part)
    _check_resources(part)
    _check_mappings(part)
    tags = part.objects("tags")
    for tag in tags:
        tag.string("type", required=True)
        tag.string("name", required=True)
    statistics = list(_statistics(part))
    for statistic in statistics:
        _check_statistic(statistic)
    if strict:
        _check_meta_strictly(part, tags, statistics)
    return findings.items


def validate_data(document: object, *, strict: bool = False) -> list[Fault]:
    """The faults of a data.json; with `strict` also violations of the published schema, as warnings."""
    findings = Faults()
    if not isinstance(document, Mapping):
        findings.error("", f"must be an object, not {quoted_value(document)}")
        return findings.items
    for name, scopes in document.items():
        if not isinstance(scopes, Mapping):
            findings.error(name, f"must be an object of scopes, not {quoted_value(scopes)}")
            continue
        for scope, metric in scopes.items():
            path = f"{name}.{scope}"
            if scope not in set(Scope):
                findings.error(path, "is not a scope")
            elif not isinstance(metric, Mapping):
                findings.error(path, f"must be an object, not {quoted_value(metric)}")
            else:
                _check_metric(DocumentReader(metric, path, findings), strict=strict)
            if strict and scope not in _SCOPES_BY_METRIC.get(name, set(Scope)):
                findings.warn(path, "is a scope at which the schema does not know this metric")
    if strict:
        _warn_of_missing(document, "", _NEEDED_DATA, findings)
    return findings.items


def _check_identity(part: DocumentReader) -> None:
    for key in ("jobId", "startTime", "duration", "numNodes"):
        minimum = 1 if key in ("startTime", "numNodes") else 0
        if part.integer(key, (minimum, None), -1) == -1 and not part.has(key):
            part.faults.error(key, "is missing")
    for key in ("user", "cluster", "subCluster"):
        part.string(key, required=True)
    if not isinstance(part.raw("project"), str):
        part.faults.error("project", "is missing or no text")
    for key, words in (("shared", _SHARED), ("jobState", tuple(JobState))):
        if part.raw(key) not in words:
            part.faults.error(key, f"must be one of {', '.join(words)}, not {quoted_value(part.raw(key))}")
    for key in _OPTIONAL_INTEGERS:
        part.integer(key, default=0)
    if part.integer("monitoringStatus", (0, None), 0) > _MAX_STATUS:
        part.faults.error("monitoringStatus", f"must be at most {_MAX_STATUS}")
    part.number("energy")
    part.string("partition")


def _check_resources(part: DocumentReader) -> None:
    resources = part.objects("resources")
    for resource in resources:
        resource.string("hostname", required=True)
        resource.thread_ids("hwthreads")
    nodes = part.raw("numNodes")
    if type(nodes) is int and nodes != len(resources):
        part.faults.error("resources", f"has {len(resources)} entries, numNodes says {nodes}")


def _check_mappings(part: DocumentReader) -> None:
    checks: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
        ("metaData", "text", lambda value: isinstance(value, str)),
        ("footprint", "a number", is_number),
        ("energyFootprint", "a number", is_number),
    )
    for key, kind, fits in checks:
        values = part.raw(key)
        if values is None:
            continue
        if not isinstance(values, Mapping):
            part.faults.error(key, f"must be an object or null, not {quoted_value(values)}")
            continue
        for name, value in values.items():
            if not fits(value):
                part.faults.error(f"{key}.{name}", f"must be {kind}, not {quoted_value(value)}")


def _statistics(part: DocumentReader) -> Iterable[DocumentReader]:
    values = part.raw("statistics")
    if not isinstance(values, Mapping):
        part.faults.error("statistics", "is missing or no object")
        return
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield DocumentReader(value, f"statistics.{name}", part.faults)
        elif name != "filesystems":
            part.faults.error(f"statistics.{name}", f"must be an object, not {quoted_value(value)}")


def _check_statistic(part: DocumentReader) -> None:
    for key in ("min", "avg", "max"):
        if not is_number(part.raw(key)):
            part.faults.error(part.path_of(key), f"must be a number, not {quoted_value(part.raw(key))}")
    _check_unit(part, strict=False)


def _check_unit(part: DocumentReader, *, strict: bool) -> None:
    unit = unit_from_json(part.raw("unit"))
    if unit is None or not isinstance(part.raw("unit"), Mapping):
        part.faults.error(part.path_of("unit"), f"must be an object with base, not {quoted_value(part.raw('unit'))}")
    elif strict and (unit.base not in _BASES or unit.prefix not in _PREFIXES):
        part.faults.warn(part.path_of("unit"), f"{unit} is none of the schema's units")


def _check_metric(part: DocumentReader, *, strict: bool) -> None:
    _check_unit(part, strict=strict)
    if not part.has("timestep"):
        part.faults.error(part.path_of("timestep"), "is missing")
    part.integer("timestep", (1, None), 1)
    if not part.has("series"):
        part.faults.error(part.path_of("series"), "is missing")
    identities = set()
    for series in part.objects("series"):
        identity = (series.string("hostname", required=True), str(series.raw("id")))
        _check_samples(series, strict=strict)
        if identity in identities:
            part.faults.warn(series.path, f"there is another series of {identity[0]} with the same id")
        identities.add(identity)
    over_time = part.raw("statisticsSeries")
    if isinstance(over_time, Mapping):
        _check_statistics_series(
            DocumentReader(over_time, part.path_of("statisticsSeries"), part.faults), strict=strict
        )


def _check_samples(part: DocumentReader, *, strict: bool) -> None:
    samples = part.raw("data")
    if not isinstance(samples, list):
        part.faults.error(part.path_of("data"), f"must be a list, not {quoted_value(samples)}")
        return
    _check_numbers(part, "data", samples)
    statistics = part.raw("statistics")
    if isinstance(statistics, Mapping):
        statistic = DocumentReader(statistics, part.path_of("statistics"), part.faults)
        values = [statistics.get(key) for key in ("min", "avg", "max")]
        if not all(map(is_number, values)):
            part.faults.error(statistic.path, "needs the numbers min, avg and max")
        elif strict:
            _warn_of_order(statistic)
    elif strict:
        part.faults.warn(part.path_of("statistics"), "is missing")
    if strict and not any(is_number(value) and value >= 0 for value in samples):
        part.faults.warn(part.path_of("data"), "has no number from 0")


def _check_numbers(part: DocumentReader, key: str, values: list[Any]) -> None:
    wrong = next((value for value in values if value is not None and not is_number(value)), None)
    if wrong is not None:
        part.faults.error(part.path_of(key), f"must hold numbers and nulls only, not {quoted_value(wrong)}")


def _check_statistics_series(part: DocumentReader, *, strict: bool) -> None:
    for key in ("min", "mean", "median", "max"):
        values = part.raw(key)
        if values is not None and not isinstance(values, list):
            part.faults.error(part.path_of(key), f"must be a list or null, not {quoted_value(values)}")
        elif values is not None:
            _check_numbers(part, key, values)
        if strict and (not values or None in values or len(values) < _SHORTEST_STATISTICS_SERIES):
            minimum = _SHORTEST_STATISTICS_SERIES
            part.faults.warn(part.path_of(key), f"should hold at least {minimum} numbers and no null")


def _check_meta_strictly(
    part: DocumentReader, tags: Collection[DocumentReader], statistics: Collection[DocumentReader]
) -> None:
    for key in _POSITIVE:
        value = part.raw(key)
        if is_number(value) and value <= 0:
            part.faults.warn(key, "should be above 0 or left out")
    for key in ("metaData", "footprint", "energyFootprint"):
        if part.is_null(key):
            part.faults.warn(key, "should be an object or left out, not null")
    jobs = part.raw("concurrentJobs")
    if isinstance(jobs, Mapping) and not isinstance(jobs.get("items"), list):
        part.faults.warn("concurrentJobs.items", "should be an array")
    names = [str((tag.raw("type"), tag.raw("name"), tag.raw("scope"))) for tag in tags]
    if len(set(names)) != len(names):
        part.faults.warn("tags", "should be unique")
    for statistic in statistics:
        _check_unit(statistic, strict=True)
        _warn_of_order(statistic)
    there = {statistic.path.removeprefix("statistics.") for statistic in statistics}
    _warn_of_missing(there, "statistics.", _NEEDED_STATISTICS, part.faults)


def _warn_of_order(part: DocumentReader) -> None:
    minimum, mean, maximum = (part.raw(key) for key in ("min", "avg", "max"))
    if not (is_number(minimum) and is_number(mean) and is_number(maximum)):
        return
    if minimum < 0:
        part.faults.warn(part.path_of("min"), "should be 0 or above")
    if not minimum <= mean <= maximum:
        part.faults.warn(part.path, f"should be ordered: min {minimum}, avg {mean}, max {maximum}")


def _warn_of_missing(values: Collection[str], path: str, needed: Iterable[str], findings: Faults) -> None:
    for name in needed:
        if name not in values:
            findings.warn(f"{path}{name}", "is missing; the schema needs it")
