"""What each route takes and gives, for the OpenAPI document; `docs/api.md` says more about each."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from cc_backend.api import schemas
from cc_backend.api.job_list_query import PARAMETERS
from cc_backend.api.job_statistics import STATISTICS_PARAMETERS
from cc_backend.api.schemas import COUNT, FLAG, INTEGER, NAME, SCOPE, STATE, TEXT, TIME, array, by_name, record
from cc_backend.http.downloads import FORMAT, TABLE_FORMATS, FileFormat
from cc_backend.http.openapi import Body, Description, Parameter, Schema, Success
from cc_backend.http.routing import Route
from cc_backend.jobs.filter_parameters import REPEATABLE, SCHEDULES, SHARED, VERDICTS
from cc_backend.jobs.job_removal import KeptTags
from cc_backend.jobs.job_statistics import DURATION_BINS, SORTS, GroupBy
from cc_backend.jobs.node_states import SchedulerState

_CSV = (FileFormat.CSV.media_type,)
_TABLE_FORMAT = Parameter(FORMAT, {"type": "string", "enum": list(map(str, TABLE_FORMATS))}, "in place of Accept")
_RANGE: Schema = {"type": "string", "examples": ["2-8", "lessthan-8", "morethan-2"]}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_ALONE = frozenset({"cluster", "project", "user"})  # whole names here, of which the first counts

_OF_JOBS: Mapping[str, tuple[Schema, str]] = {
    "state": (STATE, "any of these states"),
    "cluster": (NAME, "the name of the cluster"),
    "project": (NAME, "the name of the project"),
    "user": (NAME, "the name of the user"),
    "start-time": ({"type": "string", "pattern": "^[0-9]+-[0-9]+$"}, "start time as <from>-<to>, inclusive"),
    "startTime[from]": (TIME, "start time from, inclusive"),
    "startTime[to]": (TIME, "start time to, inclusive"),
    "ran": ({"type": "string", "pattern": "^[0-9]*-[0-9]*$"}, "ran at some time in <from>-<to>, either may be open"),
    "numNodes[from]": (COUNT, "nodes from, inclusive"),
    "numNodes[to]": (COUNT, "nodes to, inclusive"),
    "duration": ({"type": "string", "examples": ["3600-7200", "30min-2h"]}, "a range of durations"),
    "numNodes": (_RANGE, "a range of nodes"),
    "numHWThreads": (_RANGE, "a range of hardware threads"),
    "numAccelerators": (_RANGE, "a range of accelerators"),
    "energy": (_RANGE, "a range of energy in kWh"),
    "stat": ({"type": "string", "examples": ["cpu_load_avg-lessthan-4"]}, "a range of a footprint; all must hold"),
    "tag": (TEXT, "any of these tags, by id or as type:name"),
    "tagMatch": ({"type": "string", "enum": ["any", "all"]}, "whether one of the tags is enough"),
    "noTag": (TEXT, "none of these tags, by id or as type:name"),
    "shared": ({"type": "string", "enum": list(SHARED)}, "how the nodes are shared"),
    "schedule": ({"type": "string", "enum": list(SCHEDULES)}, "interactive or batch"),
    "verdict": ({"type": "string", "enum": list(VERDICTS)}, "any of these verdicts"),
    "overdue": ({"type": "string", "enum": ["yes"]}, "only jobs whose end was probably never reported"),
    "dbId": (INTEGER, "any of these database ids"),
    "jobId": (INTEGER, "any of these ids of the scheduler"),
    "arrayJobId": (INTEGER, "the id of an array"),
    "jobName": (TEXT, "a part of the name of the job"),
    "script": ({**TEXT, "minLength": 3}, "a part of the job script"),
    "node": (TEXT, "hosts or host lists"),
    "nodeMatch": ({"type": "string", "enum": ["eq", "contains"]}, "whether node is a whole name or a part of one"),
    "page": (_POSITIVE, "the page, from 1"),
    "items-per-page": (_POSITIVE, "jobs on a page, 25 by default"),
    "items_per_page": (_POSITIVE, "the same"),
    "with-metadata": (FLAG, "whether jobs come with metaData"),
    "group-by": ({"type": "string", "enum": list(map(str, GroupBy))}, "totals of each of these instead of all jobs"),
    "sort-by": ({"type": "string", "enum": list(SORTS)}, "order of the groups, largest first"),
    "bins": ({"type": "string", "enum": list(DURATION_BINS)}, "width of the bins of durations"),
    "metric": (NAME, "histograms of these footprints"),
    FORMAT: (_TABLE_FORMAT.schema, _TABLE_FORMAT.meaning),
    "metric-bins": ({"type": "integer", "minimum": 1, "maximum": 1000}, "bins of the histograms of footprints"),
}


def _jobs_parameter(name: str) -> Parameter:
    schema, meaning = _OF_JOBS.get(name, (TEXT, "a filter of jobs"))
    return Parameter(name, schema, meaning, is_repeatable=name in {"state", "metric", *REPEATABLE} - _ALONE)


_CLUSTER = Parameter("cluster", NAME, "this cluster only")
_TEXT = "text/plain"

_WRITE = Description(
    (Parameter("cluster", NAME, "the cluster of lines without that tag"),),
    Body(TEXT, _TEXT),
    Success("stored; the body is empty if every line was accepted"),
    summary="Store samples in line protocol.\nGood lines are kept beside bad ones; 503 asks for the whole batch again.",
)
_QUERY_SAMPLES = Description(
    body=Body(schemas.SAMPLE_QUERY), success=Success("a row of series for each query", schemas.SAMPLE_QUERY_RESULT)
)
_FREE_SAMPLES = Description(
    (Parameter("to", TIME, "samples before this time", is_required=True),),
    Body(schemas.STORE_SELECTORS),
    Success("how much was freed", TEXT, media_type=_TEXT),
)
_SHOW_INVENTORY = Description(
    (Parameter("selector", TEXT, "<cluster> or <cluster>:<host>"),), success=Success("the series", by_name({}))
)
_CHECK_HOSTS = Description(
    body=Body(schemas.HEALTH_QUERY), success=Success("the health of the metrics of each host", schemas.HEALTH_RESULT)
)
_START_JOB = Description(
    summary="Store a started job.",
    body=Body(schemas.component("JobStart")),
    success=Success("stored", record(("msg", "id"), msg=TEXT, id=INTEGER), status=HTTPStatus.CREATED),
)
_JOB = Success("the job", schemas.component("Job"))
_STOP_JOB = Description(summary="Finish a running job.", body=Body(schemas.component("JobStop")), success=_JOB)
_CHANGE_JOB = Description(body=Body(schemas.JOB_CHANGE), success=_JOB)
_STORE_EVENTS = Description(
    body=Body(schemas.JOB_EVENTS), success=Success("what became of each", schemas.JOB_EVENT_RESULTS)
)
_STOP_JOB_BY_ID = Description(body=Body(schemas.JOB_STOP_BY_ID), success=_JOB)
_LIST_JOBS = Description(
    tuple(map(_jobs_parameter, PARAMETERS)), success=Success("a page; all as CSV", schemas.JOB_LIST, also=_CSV)
)
_SHOW_STATISTICS = Description(
    tuple(map(_jobs_parameter, STATISTICS_PARAMETERS)),
    success=Success("totals and histograms, or a page of groups", schemas.JOB_STATISTICS, also=_CSV),
)
_GET_JOB = Description(
    (Parameter("all-metrics", FLAG, "whether Data has the samples of all metrics"),),
    success=Success("the job", schemas.JOB_WITH_DATA),
)
_GET_JOB_WITH_NAMED_METRICS = Description(
    body=Body(schemas.METRIC_NAMES), success=Success("the job with its samples", schemas.JOB_WITH_METRICS)
)
_GET_JOB_METRICS = Description(
    (
        Parameter("metric", NAME, "these metrics, all by default", is_repeatable=True),
        Parameter("scope", SCOPE, "these scopes, node by default", is_repeatable=True),
        Parameter("real-status", FLAG, "whether failures have their own status instead of 200"),
    ),
    success=Success("the samples, or why there are none", schemas.JOB_METRICS),
    failure=schemas.JOB_METRICS,
)
_EXPORT_JOB = Description(
    (
        Parameter(FORMAT, {"type": "string", "enum": list(map(str, FileFormat))}, "in place of Accept"),
        Parameter("metric", NAME, "these metrics, all by default", is_repeatable=True),
        Parameter("scope", SCOPE, "these scopes, those of the archive by default", is_repeatable=True),
    ),
    success=Success("the job", schemas.JOB_EXPORT, also=tuple(form.media_type for form in FileFormat)[1:]),
)
_LIST_USED_NODES = Description(
    (Parameter("ts", TIME, "jobs that started before this time", is_required=True), _CLUSTER),
    success=Success("hosts by cluster", record(("usedNodes",), usedNodes=by_name(array(TEXT)))),
)
_CHANGE_TAGS = Description(body=Body(array(schemas.component("Tag"))), success=_JOB)
_REMOVE_TAGS = Description(
    body=Body(array(schemas.component("Tag"))), success=Success("how many there were", TEXT, media_type=_TEXT)
)
_EDIT_META_DATA = Description(body=Body(schemas.TEXT_BY_KEY), success=_JOB)
_EDIT_META_DATA_OF_NAMED_JOB = Description(body=Body(schemas.META_DATA_EDIT), success=_JOB)
_REMOVED = Success("removed", schemas.REMOVED)
_REMOVE_JOB = Description(success=_REMOVED)
_REMOVE_NAMED_JOB = Description(body=Body(schemas.NAMED_JOB), success=_REMOVED)
_REMOVE_JOBS_BEFORE = Description(
    (
        Parameter(
            "omit-tagged", {"type": "string", "enum": [str(choice) for choice in KeptTags]}, "tags that keep a job"
        ),
    ),
    success=Success("removed", schemas.REMOVED_BEFORE),
)
_LIST_CLUSTERS = Description(
    (_CLUSTER,), success=Success("cluster.json of each", record(("clusters",), clusters=array(by_name({}))))
)
_STORE_NODE_STATES = Description(
    body=Body(schemas.NODE_STATES), success=Success("what was stored", schemas.NODE_STATES_STORED)
)
_STORE_NODE_REPORT = Description(
    body=Body(schemas.NODE_REPORT), success=Success("whether it is new", record(("changed",), changed=FLAG))
)
_LIST_NODE_REPORTS = Description((_CLUSTER,), success=Success("the nodes of the cluster", schemas.NODE_REPORTS))
_GET_NODE_REPORT = Description(success=Success("the report", schemas.NODE_REPORT))
_NODES = (
    Parameter("cluster", NAME, "nodes of these clusters", is_repeatable=True),
    Parameter("subCluster", NAME, "nodes of these subclusters", is_repeatable=True),
    Parameter("node", TEXT, "hosts or host lists", is_repeatable=True),
)
_RANGE_OF_TIME = (
    Parameter("from", TIME, "the begin, by default a day before the end"),
    Parameter("to", TIME, "the end, now by default"),
)
_LIST_NODES = Description(
    (
        *_NODES,
        Parameter("state", {"type": "string", "enum": list(map(str, SchedulerState))}, "in these", is_repeatable=True),
        Parameter("page", _POSITIVE, "the page, from 1"),
        Parameter("items-per-page", _POSITIVE, "nodes on a page, 1000 by default"),
        _TABLE_FORMAT,
    ),
    success=Success("a page; all as CSV", schemas.NODE_LIST, also=_CSV),
)
_GET_NODE = Description(
    (*_RANGE_OF_TIME, Parameter("at", TIME, "also its state and jobs at this time"), _TABLE_FORMAT),
    success=Success("the node; its states as CSV", schemas.NODE_HISTORY, also=_CSV),
)
_GET_NODE_SHARES = Description(
    (
        *_NODES,
        *_RANGE_OF_TIME,
        Parameter(
            "by", {"type": "string", "enum": ["cluster", "subCluster", "node"]}, "the groups, clusters by default"
        ),
        _TABLE_FORMAT,
    ),
    success=Success("seconds and shares of all and of each group", schemas.NODE_SHARES, also=_CSV),
)
_GET_MACHINE_STATE = Description(success=Success("the document as it was sent", {}))
_STORE_MACHINE_STATE = Description(body=Body({}), success=Success("stored", status=HTTPStatus.CREATED))
_SHOW_HEALTH = Description(success=Success("healthy", record(("status",), status=TEXT)))
_SHOW_METRICS = Description(success=Success("the counters of the server for Prometheus", TEXT, media_type=_TEXT))
_GET_OPENAPI = Description(success=Success("the document", by_name({})))
_SHOW_API = Description(success=Success("the page", TEXT, media_type="text/html"))

IN_PATH: Mapping[str, Schema] = {
    "job_id": {"type": "integer", "minimum": 0, "description": "the database id of the job"},
    "before": TIME,
    "cluster": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"},
    "host": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$"},
}
"""Schemas of the parameters in paths."""

_BY_ROUTE: Mapping[str, Description] = {
    "POST /api/write/": _WRITE,
    "GET /api/query/": _QUERY_SAMPLES,
    "POST /api/free/": _FREE_SAMPLES,
    "GET /api/debug/": _SHOW_INVENTORY,
    "GET /api/healthcheck/": _CHECK_HOSTS,
    "POST /api/jobs/start_job/": _START_JOB,
    "POST /api/jobs/stop_job/": _STOP_JOB,
    "POST /api/jobs/stop_job/<job_id>/": _STOP_JOB_BY_ID,
    "POST /api/jobs/change_job/": _CHANGE_JOB,
    "POST /api/jobs/events/": _STORE_EVENTS,
    "GET /api/jobs/": _LIST_JOBS,
    "GET /api/jobs/statistics/": _SHOW_STATISTICS,
    "GET /api/jobs/<job_id>/": _GET_JOB,
    "POST /api/jobs/<job_id>/": _GET_JOB_WITH_NAMED_METRICS,
    "GET /api/jobs/metrics/<job_id>/": _GET_JOB_METRICS,
    "GET /api/jobs/export/<job_id>/": _EXPORT_JOB,
    "GET /api/jobs/used_nodes/": _LIST_USED_NODES,
    "POST /api/jobs/tag_job/<job_id>/": _CHANGE_TAGS,
    "DELETE /api/jobs/tag_job/<job_id>/": _CHANGE_TAGS,
    "DELETE /api/tags/": _REMOVE_TAGS,
    "POST /api/jobs/edit_meta/<job_id>/": _EDIT_META_DATA,
    "POST /api/jobs/edit_meta/": _EDIT_META_DATA_OF_NAMED_JOB,
    "DELETE /api/jobs/delete_job/<job_id>/": _REMOVE_JOB,
    "DELETE /api/jobs/delete_job/": _REMOVE_NAMED_JOB,
    "DELETE /api/jobs/delete_job_before/<before>/": _REMOVE_JOBS_BEFORE,
    "GET /api/clusters/": _LIST_CLUSTERS,
    "POST /api/nodestate/": _STORE_NODE_STATES,
    "POST /api/healthcheck/": _STORE_NODE_STATES,
    "GET /api/nodes/": _LIST_NODES,
    "GET /api/nodes/shares/": _GET_NODE_SHARES,
    "GET /api/nodes/<cluster>/<host>/": _GET_NODE,
    "POST /api/nodes/report/": _STORE_NODE_REPORT,
    "GET /api/nodes/reports/": _LIST_NODE_REPORTS,
    "GET /api/nodes/<cluster>/<host>/report/": _GET_NODE_REPORT,
    "GET /api/machine_state/<cluster>/<host>/": _GET_MACHINE_STATE,
    "POST /api/machine_state/<cluster>/<host>/": _STORE_MACHINE_STATE,
    "GET /healthz": _SHOW_HEALTH,
    "GET /metrics": _SHOW_METRICS,
    "GET /api/openapi.json": _GET_OPENAPI,
    "GET /api/docs/": _SHOW_API,
}
"""First method and path -> what the route takes and gives; below /userapi/ and /metricstore/ as below /api/."""


def describe_route(route: Route) -> Description:
    """What a route takes and gives, by its first method and path."""
    path = re.sub("^/(userapi|metricstore)/", "/api/", route.path)
    return _BY_ROUTE.get(f"{route.methods[0]} {path}", Description())
