"""Nodes over time: their latest states, the history of one, and the shares of time in each state."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from flask import Response, request
from werkzeug.datastructures import MultiDict

from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import InvalidInput, NotFound, TooLarge
from cc_backend.exports.csv_text import Cell, time_cell
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.downloads import FORMAT, FileFormat, csv_download, reject_with_csv, requested_format
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import optional_integer, reject_unknown
from cc_backend.http.responses import json_response
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_json import job_to_json
from cc_backend.jobs.limits import MAX_START_S
from cc_backend.jobs.node_history import NodeStateSpan, NodeTimes, sum_times
from cc_backend.jobs.node_states import NodeFilter, NodeStatus, SchedulerState
from cc_backend.jobs.tags import visible_tags
from cc_backend.services import Services, current_services
from cc_common.error_codes import ErrorCode
from cc_common.hostlist import expand

MAX_RANGE_S = 366 * 86_400
MAX_SPANS = 10_000
MAX_NODES = 10_000
MAX_CSV_NODES = 100_000
MAX_JOBS = 1000
_DEFAULT_RANGE_S = 86_400
_DEFAULT_ITEMS = 1000

LIST_PARAMETERS = ("cluster", "subCluster", "node", "state", "page", "items-per-page", FORMAT)
NODE_PARAMETERS = ("from", "to", "at", FORMAT)
SHARE_PARAMETERS = ("cluster", "subCluster", "node", "from", "to", "by", FORMAT)
_GROUPS = ("cluster", "subCluster", "node")
_GROUP_KEYS = ("cluster", "subCluster", "hostname")
_UNITS = {"memoryAllocated": " (MB)"}


def list_nodes() -> Response:
    """The latest state and health of the nodes that match, one page of them, and how many are in each state."""
    services = current_services()
    reject_unknown(request.args, LIST_PARAMETERS)
    node_filter = replace(_node_filter(request.args), states=tuple(map(_state, request.args.getlist("state"))))
    page = optional_integer(request.args, "page", minimum=1, maximum=MAX_NODES) or 1
    items = optional_integer(request.args, "items-per-page", minimum=1, maximum=MAX_NODES) or _DEFAULT_ITEMS
    if requested_format(request.args) is FileFormat.CSV:
        reject_with_csv(request.args, ("page", "items-per-page"))
        return _nodes_as_csv(services.node_states.find(node_filter, limit=MAX_CSV_NODES + 1))
    counts = dict.fromkeys(map(str, SchedulerState), 0)
    for by_state in services.node_states.count_by_state(node_filter).values():
        for state, number in by_state.items():
            counts[state if state in counts else SchedulerState.UNKNOWN] += number
    nodes = services.node_states.find(node_filter, limit=items, offset=(page - 1) * items)
    return json_response(
        {
            "nodes": [_status_to_json(node) for node in nodes],
            "items": items,
            "page": page,
            "total": sum(counts.values()),
            "states": counts,
        }
    )


def get_node(cluster: str, host: str) -> Response:
    """The latest state of a node, its states in a range, and, with `at`, its state and jobs at that time."""
    services = current_services()
    reject_unknown(request.args, NODE_PARAMETERS)
    require_cluster_allowed(cluster, current_caller().allowed_clusters)
    found = services.node_states.find(NodeFilter(clusters=(cluster,), hostnames=(host,)))
    if not found:
        raise NotFound(f"no state of a node {host[:60]!r} of the cluster {cluster[:60]!r} was reported")
    from_s, to_s = _time_range(services)
    spans, is_cut = services.node_history.spans(cluster, host, from_s, to_s, limit=MAX_SPANS)
    if requested_format(request.args) is FileFormat.CSV:
        reject_with_csv(request.args, ("at",))
        return _history_as_csv(spans, is_cut=is_cut, name=f"node-{cluster}-{host}")
    document = {
        "node": _status_to_json(found[0]),
        "from": from_s,
        "to": to_s,
        "history": [_span_to_json(span) for span in spans],
        "truncated": is_cut,
    }
    at_s = optional_integer(request.args, "at", maximum=MAX_START_S)
    if at_s is not None:
        document["at"] = _moment_to_json(services, cluster, host, at_s)
    return json_response(document)


def get_node_shares() -> Response:
    """How long the nodes that match were in each state in a range, by cluster, subcluster or node."""
    services = current_services()
    reject_unknown(request.args, SHARE_PARAMETERS)
    node_filter = _node_filter(request.args)
    by = request.args.get("by") or _GROUPS[0]
    if by not in _GROUPS:
        text = f"by must be one of {', '.join(_GROUPS)}, not {by[:60]!r}"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    from_s, to_s = _time_range(services)
    nodes = services.node_history.times(node_filter, from_s, to_s)
    if by == "node" and len(nodes) > MAX_NODES:
        raise TooLarge(f"there are {len(nodes)} nodes, more than {MAX_NODES}; name a subCluster or nodes")
    if requested_format(request.args) is FileFormat.CSV:
        return _shares_as_csv(_grouped(nodes, by), to_s - from_s)
    unknown = sorted(set(node_filter.hostnames) - {node.hostname for node in nodes})
    return json_response(
        {
            "from": from_s,
            "to": to_s,
            "nodes": len(nodes),
            "unknownHosts": unknown,
            **_times_to_json(nodes, to_s - from_s),
            "groups": [
                {**names, "nodes": len(members), **_times_to_json(members, to_s - from_s)}
                for names, members in _grouped(nodes, by)
            ],
        }
    )


def _node_filter(arguments: MultiDict[str, str]) -> NodeFilter:
    """The nodes that the query names, within the clusters of the token.

    Raises:
        InvalidInput: there is no such cluster, or a host list is invalid.
        NotAllowed: the token is not valid for the cluster.
    """
    allowed = current_caller().allowed_clusters
    clusters = tuple(arguments.getlist("cluster"))
    known = current_services().clusters
    for cluster in clusters:
        require_cluster_allowed(cluster, allowed)
        if cluster not in known:
            names = ", ".join(name for name in known if not allowed or name in allowed)
            text = f"cluster: there is no cluster {cluster[:60]!r}; known are {names}"
            raise InvalidInput(text, code=ErrorCode.UNKNOWN_CLUSTER)
    hosts = expand(",".join(arguments.getlist("node")), limit=MAX_NODES)
    return NodeFilter(clusters or allowed, tuple(arguments.getlist("subCluster")), tuple(hosts))


def _state(text: str) -> SchedulerState:
    try:
        return SchedulerState(text)
    except ValueError:
        message = f"state must be one of {', '.join(SchedulerState)}, not {text[:60]!r}"
        raise InvalidInput(message, code=ErrorCode.INVALID_PARAMETER) from None


def _time_range(services: Services) -> tuple[int, int]:
    """The range from `from` to `to`, by default the last day; it ends now at the latest.

    Raises:
        InvalidInput: it is empty, or longer than `MAX_RANGE_S`.
    """
    now_s = services.now_s()
    to_s = min(now_s, optional_integer(request.args, "to", maximum=MAX_START_S, default=now_s) or 0)
    from_s = optional_integer(request.args, "from", maximum=MAX_START_S, default=max(0, to_s - _DEFAULT_RANGE_S)) or 0
    if from_s >= to_s:
        text = f"from must lie before to and before now ({now_s}); the range {from_s} to {to_s} is empty"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    if to_s - from_s > MAX_RANGE_S:
        text = f"from and to may be at most {MAX_RANGE_S // 86_400} days apart"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    return from_s, to_s


def _moment_to_json(services: Services, cluster: str, host: str, at_s: int) -> dict[str, Any]:
    """The state of a node at a time, and the jobs that ran on it then."""
    caller = current_caller()
    state = services.node_history.state_at(cluster, host, at_s)
    page = services.job_queries.find(
        JobFilter(clusters=(cluster,), hosts=(host,), ran_at_s=at_s),
        row_rule_for(caller),
        now_s=services.now_s(),
        items_per_page=MAX_JOBS,
        with_meta_data=False,
    )
    jobs = [job_to_json(replace(job, tags=visible_tags(job.tags, caller))) for job in page.jobs]
    return {
        "time": at_s,
        "state": None if state is None else _state_to_json(state),
        "jobs": jobs,
        "totalJobs": page.total,
    }


def _grouped(nodes: Sequence[NodeTimes], by: str) -> list[tuple[dict[str, str], list[NodeTimes]]]:
    """The names of each group, as keys of its JSON object, and its nodes."""
    groups: dict[tuple[str, ...], list[NodeTimes]] = {}
    for node in nodes:
        names = (node.cluster, node.sub_cluster, node.hostname)[: _GROUPS.index(by) + 1]
        groups.setdefault(names, []).append(node)
    return [(dict(zip(_GROUP_KEYS, names, strict=False)), members) for names, members in sorted(groups.items())]


def _times_to_json(nodes: Iterable[NodeTimes], range_s: int) -> dict[str, Any]:
    """`seconds` in each state, and `shares` of the time of all these nodes."""
    seconds = sum_times(nodes)
    total_s = sum(seconds.values())
    return {
        "seconds": {str(state): value for state, value in seconds.items()},
        "shares": {str(state): round(value / (total_s or range_s), 6) for state, value in seconds.items()},
    }


def _nodes_as_csv(nodes: Sequence[NodeStatus]) -> Response:
    if len(nodes) > MAX_CSV_NODES:
        text = f"there are over {MAX_CSV_NODES} nodes; name a cluster or a subCluster"
        raise TooLarge(text, code=ErrorCode.ANSWER_TOO_LARGE)
    header = ["cluster", "subCluster", "hostname", *_STATE_COLUMNS, "since", "lastReport"]
    rows = (
        [
            *(node.cluster, node.sub_cluster, node.hostname, *_state_cells(node)),
            *(time_cell(node.since_s), time_cell(node.last_report_s)),
        ]
        for node in nodes
    )
    return csv_download(header, rows, name="nodes")


def _history_as_csv(spans: Sequence[NodeStateSpan], *, is_cut: bool, name: str) -> Response:
    if is_cut:
        text = f"the range has over {MAX_SPANS} states; take a shorter one"
        raise TooLarge(text, code=ErrorCode.ANSWER_TOO_LARGE)
    rows = ([time_cell(span.from_s), time_cell(span.to_s), *_state_cells(span)] for span in spans)
    return csv_download(["from", "to", *_STATE_COLUMNS], rows, name=name)


def _shares_as_csv(groups: Iterable[tuple[dict[str, str], list[NodeTimes]]], range_s: int) -> Response:
    states = list(map(str, SchedulerState))
    header = [*_GROUP_KEYS, "nodes", *(f"{state} (s)" for state in states), *(f"{state} (share)" for state in states)]

    def rows() -> Iterator[list[Cell]]:
        for names, members in groups:
            times = _times_to_json(members, range_s)
            numbers = [times[kind].get(state, 0) for kind in ("seconds", "shares") for state in states]
            yield [*(names.get(key) for key in _GROUP_KEYS), len(members), *numbers]

    return csv_download(header, rows(), name="node-shares")


def _status_to_json(node: NodeStatus) -> dict[str, Any]:
    return {
        "cluster": node.cluster,
        "subCluster": node.sub_cluster,
        "hostname": node.hostname,
        **_state_to_json(node),
        "since": node.since_s,
        "lastReport": node.last_report_s,
    }


def _span_to_json(span: NodeStateSpan) -> dict[str, Any]:
    return {"from": span.from_s, "to": span.to_s, **_state_to_json(span)}


def _state_to_json(node: NodeStatus | NodeStateSpan) -> dict[str, Any]:
    """State and health; allocations have the keys of reports."""
    return {
        "state": str(node.state),
        "states": list(node.reported_states),
        "health": str(node.health),
        "missingMetrics": list(node.missing_metrics),
        "degradedMetrics": list(node.degraded_metrics),
        "cpusAllocated": node.cpus_allocated,
        "memoryAllocated": node.memory_allocated,
        "gpusAllocated": node.gpus_allocated,
        "jobsRunning": node.jobs_running,
    }


_STATE_KEYS = (
    *("state", "states", "health", "missingMetrics", "degradedMetrics"),
    *("cpusAllocated", "memoryAllocated", "gpusAllocated", "jobsRunning"),
)
_STATE_COLUMNS = tuple(f"{key}{_UNITS.get(key, '')}" for key in _STATE_KEYS)


def _state_cells(node: NodeStatus | NodeStateSpan) -> list[Cell]:
    """The values of `_STATE_COLUMNS`; lists are separated by spaces."""
    document = _state_to_json(node)
    return [" ".join(value) if isinstance(value := document[key], list) else value for key in _STATE_KEYS]
