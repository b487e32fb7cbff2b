"""Totals and histograms of the jobs that match a query, under the caller's row rule."""

from collections.abc import Sequence
from typing import Any

from flask import Response, request
from werkzeug.datastructures import MultiDict

from cc_backend.api.job_list_query import FILTER_PARAMETERS, parse_job_filter
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import InvalidInput
from cc_backend.http.downloads import FORMAT, FileFormat, csv_download, reject_with_csv, requested_format
from cc_backend.http.guard import current_caller
from cc_backend.http.query_string import first_given, optional_integer, reject_unknown
from cc_backend.http.responses import json_response
from cc_backend.jobs.filter_parameters import parse_choice
from cc_backend.jobs.job_statistics import (
    DEFAULT_DURATION_BINS,
    DURATION_BINS,
    HOUR_S,
    SORTS,
    Bins,
    DistinctCounts,
    GroupBy,
    Histograms,
    Totals,
)
from cc_backend.services import current_services
from cc_common.error_codes import ErrorCode

_GROUP_BY, _SORT_BY, _PAGE, _BINS, _METRIC, _METRIC_BINS = (
    "group-by",
    "sort-by",
    "page",
    "bins",
    "metric",
    "metric-bins",
)
_ITEMS = ("items-per-page", "items_per_page")
_OF_GROUPS = (_SORT_BY, _PAGE, *_ITEMS)
_OF_HISTOGRAMS = (_BINS, _METRIC, _METRIC_BINS)
_NOT_IN_CSV = (_PAGE, *_ITEMS, *_OF_HISTOGRAMS)
_HOURS = ("totalWalltime", "totalNodeHours", "totalCoreHours", "totalAccHours")
STATISTICS_PARAMETERS = (*FILTER_PARAMETERS, _GROUP_BY, *_OF_GROUPS, *_OF_HISTOGRAMS, FORMAT)
"""All known parameters; docs/api.md describes each."""
_MAX_METRICS = 16
_MAX_METRIC_BINS = 1000
_MAX_METRIC_NAME = 128


def show_statistics() -> Response:
    """Totals and histograms of the jobs that match, or with `group-by` totals by group, a page of them.

    As CSV there are no histograms, and all groups come.
    """
    services, arguments = current_services(), request.args
    reject_unknown(arguments, STATISTICS_PARAMETERS)
    wanted = parse_job_filter(arguments).resolve(services.database, current_caller())
    row_rule, now_s = row_rule_for(current_caller()), services.now_s()
    given = first_given(arguments, _GROUP_BY)
    as_csv = requested_format(arguments) is FileFormat.CSV
    if as_csv:
        reject_with_csv(arguments, _NOT_IN_CSV)
    if given is None:
        _reject_given(arguments, _OF_GROUPS, f"needs {_GROUP_BY}")
        totals = services.job_statistics.totals(wanted, row_rule, now_s=now_s)
        if as_csv:
            return _csv_response([totals_to_json(totals)])
        histograms = services.job_statistics.histograms(
            wanted,
            row_rule,
            now_s=now_s,
            duration_bins=parse_choice(_BINS, arguments.get(_BINS) or DEFAULT_DURATION_BINS, tuple(DURATION_BINS)),
            metrics=_parse_metrics(arguments.getlist(_METRIC)),
            metric_bins=optional_integer(arguments, _METRIC_BINS, minimum=1, maximum=_MAX_METRIC_BINS) or 10,
        )
        return json_response({"statistics": totals_to_json(totals), "histograms": _histograms_to_json(histograms)})
    _reject_given(arguments, _OF_HISTOGRAMS, f"cannot be combined with {_GROUP_BY}")
    group_by = GroupBy(parse_choice(*given, tuple(GroupBy)))
    page = optional_integer(arguments, _PAGE, minimum=1)
    items = optional_integer(arguments, *_ITEMS, minimum=1)
    found = services.job_statistics.grouped(
        wanted,
        row_rule,
        group_by,
        now_s=now_s,
        sort_by=parse_choice(_SORT_BY, arguments.get(_SORT_BY) or next(iter(SORTS)), tuple(SORTS)),
        page=page or 1,
        items_per_page=items,
    )
    groups = [totals_to_json(group) for group in found.groups]
    if group_by is GroupBy.USER:
        names = services.users.real_names([group.group for group in found.groups])
        for document in groups:
            document["name"] = names.get(document["id"], "")
    if as_csv:
        return _csv_response(groups)
    return json_response({
        "groupBy": group_by,
        "groups": groups,
        "items": items or found.total,
        "page": page or 1,
        "total": found.total,
    })  # fmt: skip


def totals_to_json(totals: Totals) -> dict[str, Any]:
    """The JSON object of totals; `id` is the group, empty for the totals of all jobs. Hours are not rounded."""
    return {
        "id": totals.group,
        "name": "",
        "totalJobs": totals.jobs,
        "totalUsers": totals.users,
        "runningJobs": totals.running_jobs,
        "shortJobs": totals.short_jobs,
        "totalNodes": totals.nodes,
        "totalCores": totals.cores,
        "totalAccs": totals.accelerators,
        "totalWalltime": totals.wall_s / HOUR_S,
        "totalNodeHours": totals.node_s / HOUR_S,
        "totalCoreHours": totals.core_s / HOUR_S,
        "totalAccHours": totals.accelerator_s / HOUR_S,
    }


def _csv_response(groups: Sequence[dict[str, Any]]) -> Response:
    """The totals of each group as CSV, hours with their unit."""
    header = [f"{key} (h)" if key in _HOURS else key for key in totals_to_json(Totals())]
    return csv_download(header, (list(group.values()) for group in groups), name="job-statistics")


def _histograms_to_json(found: Histograms) -> dict[str, Any]:
    return {
        "duration": _bins_to_json(found.duration),
        "numNodes": _distinct_to_json(found.nodes),
        "numHWThreads": _distinct_to_json(found.cores),
        "numAccelerators": _distinct_to_json(found.accelerators),
        "metrics": [
            {
                "metric": histogram.metric,
                "stat": histogram.statistic,
                "unit": histogram.unit,
                "peak": histogram.peak,
                **_bins_to_json(histogram.bins),
                "missing": histogram.missing,
            }
            for histogram in found.metrics
        ],
    }


def _bins_to_json(bins: Bins) -> dict[str, Any]:
    return {"binWidth": bins.width, "counts": bins.counts, "beyond": bins.beyond}


def _distinct_to_json(found: DistinctCounts) -> dict[str, Any]:
    return {"values": [list(entry) for entry in found.counts], "beyond": found.beyond}


def _parse_metrics(names: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(names))
    if len(distinct) > _MAX_METRICS:
        text = f"'{_METRIC}' is given {len(distinct)} times; the maximum is {_MAX_METRICS}"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    for name in distinct:
        if not name.isprintable() or not 0 < len(name) <= _MAX_METRIC_NAME:
            text = f"'{_METRIC}' must be the name of a metric, not {name[:60]!r}"
            raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    return distinct


def _reject_given(arguments: MultiDict[str, str], names: Sequence[str], why: str) -> None:
    given = first_given(arguments, *names)
    if given is not None:
        raise InvalidInput(f"'{given[0]}' {why}", code=ErrorCode.INVALID_PARAMETER)
