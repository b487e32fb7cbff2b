"""JSON schemas of what the API takes and gives, for its OpenAPI document.

They describe what clients should send; what is read is more, such as keys in another case.
"""

from typing import Any

from cc_backend.http.openapi import Schema
from cc_backend.jobs.limits import (
    MAX_COUNT,
    MAX_ENERGY_KWH,
    MAX_FOOTPRINT,
    MAX_FOOTPRINT_VALUES,
    MAX_META_KEYS,
    MAX_NAME,
    MAX_RESOURCES,
    MAX_TAGS,
    MAX_WALLTIME_S,
)
from cc_backend.jobs.node_reports import MAX_COLLECTORS
from cc_backend.model import NON_TERMINAL_STATES, JobState, Scope
from cc_common.error_codes import ErrorCode
from cc_common.job_events import SHARED

INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_COUNT}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NAME: Schema = {"type": "string", "maxLength": MAX_NAME, "description": "printable"}
TIME: Schema = {"type": "integer", "minimum": 0, "description": "Unix seconds"}
SCOPE: Schema = {"type": "string", "enum": [str(scope) for scope in Scope]}
FINAL_STATE: Schema = {
    "type": "string",
    "enum": [str(state) for state in JobState if state not in NON_TERMINAL_STATES],
    "description": "completed if it is left out",
}
STATE: Schema = {"type": "string", "enum": [str(state) for state in JobState]}


def array(items: Schema, **more: Any) -> Schema:
    """The schema of an array."""
    return {"type": "array", "items": items, **more}


def record(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """The schema of an object; other keys are allowed, as readers pass over them."""
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


def by_name(values: Schema) -> Schema:
    """The schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values}


def component(name: str) -> Schema:
    """A reference to one of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """That schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


TAG = record(
    ("type", "name"), type=NAME, name=NAME, scope={**NAME, "description": "global (the default), admin or a user name"}
)
RESOURCE = record(
    ("hostname",), hostname=NAME, hwthreads=array(COUNT), accelerators=array(NAME), configuration={"type": "string"}
)
UNIT = record(("base",), base=TEXT, prefix=TEXT)
_NUMBERS = by_name(NUMBER)
_JOB_KEYS: dict[str, Schema] = {
    "cluster": NAME,
    "subCluster": NAME,
    "partition": NAME,
    "project": NAME,
    "user": NAME,
    "shared": {"type": "string", "enum": list(SHARED)},
    "resources": array(component("Resource"), minItems=1, maxItems=MAX_RESOURCES, description="one for each node"),
    "arrayJobId": COUNT,
    "walltime": {**COUNT, "maximum": MAX_WALLTIME_S, "description": "seconds"},
    "requestedMemory": {**COUNT, "description": "MB"},
    "submitTime": TIME,
    "jobId": {"type": "integer", "minimum": 1},
    "smt": COUNT,
    "numAcc": COUNT,
    "numHwthreads": COUNT,
    "numNodes": {"type": "integer", "minimum": 1},
    "startTime": TIME,
    "energy": {**NUMBER, "minimum": 0, "maximum": MAX_ENERGY_KWH, "description": "kWh"},
}
JOB_START = record(
    ("cluster", "user", "jobId", "startTime", "numNodes", "resources"),
    **_JOB_KEYS,
    monitoringStatus={"type": "integer", "enum": [0, 1], "description": "0: do not archive"},
    metaData=nullable(by_name(TEXT)),
    tags=nullable(array(component("Tag"), maxItems=MAX_TAGS)),
    footprint=nullable(
        {
            **by_name({**NUMBER, "minimum": -MAX_FOOTPRINT, "maximum": MAX_FOOTPRINT}),
            "maxProperties": MAX_FOOTPRINT_VALUES,
        }
    ),
)
JOB_STOP = record(
    ("jobId", "stopTime"),
    jobId=_JOB_KEYS["jobId"],
    cluster=NAME,
    startTime=TIME,
    stopTime=TIME,
    jobState=FINAL_STATE,
)
JOB_STOP_BY_ID = record(("stopTime",), stopTime=TIME, jobState=FINAL_STATE)
_CHANGEABLE = ("walltime", "partition", "project", "shared")
JOB_CHANGE: Schema = {
    **record(
        ("jobId",),
        **{key: _JOB_KEYS[key] for key in ("jobId", "cluster", "startTime", *_CHANGEABLE)},
        jobName=TEXT,
    ),
    "anyOf": [{"required": [key]} for key in (*_CHANGEABLE, "jobName")],
}
JOB_EVENTS = record(
    ("events",),
    events=array(
        {
            "anyOf": [
                {"allOf": [component("JobStart"), record(("event",), event={"const": "start_job"})]},
                {"allOf": [component("JobStop"), record(("event",), event={"const": "stop_job"})]},
            ]
        }
    ),
)
JOB_EVENT_RESULTS = record(
    ("results",), results=array(record(("status",), status=INTEGER, id=INTEGER, code=TEXT, error=TEXT))
)
JOB = record(
    ("cluster", "jobId", "startTime", "user", "jobState", "numNodes", "resources", "duration", "id"),
    **_JOB_KEYS,
    id={**INTEGER, "description": "the database id"},
    jobState=STATE,
    duration={**COUNT, "description": "seconds"},
    monitoringStatus={"type": "integer", "enum": [0, 1, 2, 3]},
    tags=array(component("Tag")),
    metaData=nullable(by_name(TEXT)),
    footprint=nullable(_NUMBERS),
    energyFootprint=nullable(_NUMBERS),
    statistics=nullable(by_name(record(("unit",), unit=component("Unit"), avg=NUMBER, min=NUMBER, max=NUMBER))),
    concurrentJobs=record(items=nullable(array(record(id=INTEGER, jobId=INTEGER))), count=INTEGER),
    verdict=TEXT,
    finding=by_name({}),
    damaged=array(TEXT),
)
JOB_LIST = record(
    ("jobs", "items", "page", "total"), jobs=array(component("Job")), items=INTEGER, page=INTEGER, total=INTEGER
)
_TOTALS = record(
    ("id", "name", "totalJobs"),
    id=TEXT,
    name=TEXT,
    **dict.fromkeys(("totalJobs", "totalUsers", "runningJobs", "shortJobs"), COUNT),
    **dict.fromkeys(("totalNodes", "totalCores", "totalAccs"), COUNT),
    **dict.fromkeys(("totalWalltime", "totalNodeHours", "totalCoreHours", "totalAccHours"), NUMBER),
)
JOB_STATISTICS: Schema = {
    "anyOf": [
        record(("statistics", "histograms"), statistics=_TOTALS, histograms=by_name({})),
        record(
            ("groupBy", "groups", "items", "page", "total"),
            groupBy=TEXT,
            groups=array(_TOTALS),
            items=COUNT,
            page=COUNT,
            total=COUNT,
        ),
    ]
}
NAMED_JOB = record(("jobId",), jobId=_JOB_KEYS["jobId"], cluster=NAME, startTime=TIME)
TEXT_BY_KEY: Schema = {
    "anyOf": [
        record(("key", "value"), key={**NAME, "minLength": 1}, value=TEXT),
        {**by_name(TEXT), "propertyNames": NAME, "minProperties": 1, "maxProperties": MAX_META_KEYS},
    ],
    "description": 'one key as {"key", "value"}, or several keys with their texts',
}
META_DATA_EDIT = record(
    ("jobId", "payload"), jobId=_JOB_KEYS["jobId"], cluster=NAME, startTime=TIME, payload=TEXT_BY_KEY
)
_STATISTICS = record(("min", "avg", "max"), min=NUMBER, avg=NUMBER, max=NUMBER)
SAMPLES = record(
    ("unit", "timestep", "series"),
    unit=component("Unit"),
    timestep={**INTEGER, "description": "seconds"},
    series=array(
        record(("hostname", "data"), hostname=TEXT, id=TEXT, statistics=_STATISTICS, data=array(nullable(NUMBER)))
    ),
)
_METRIC = record(("name", "scope", "metric"), name=TEXT, scope=SCOPE, metric=component("Samples"))
_MISSING_DATA = by_name(array(by_name({})))
JOB_WITH_DATA = record(
    ("Meta", "Data"),
    Meta=component("Job"),
    Data=nullable(by_name(by_name(component("Samples")))),
    missingData=_MISSING_DATA,
)
JOB_EXPORT = record(
    ("data", "firstSample", "meta"),
    data=by_name(by_name(component("Samples"))),
    firstSample=by_name(by_name(TIME)),
    meta=by_name({}),
)
JOB_WITH_METRICS = record(("Meta", "Data"), Meta=component("Job"), Data=array(_METRIC), missingData=_MISSING_DATA)
JOB_METRICS = record(
    ("data", "error"),
    data=nullable(record(("jobMetrics",), jobMetrics=array(_METRIC), missingData=_MISSING_DATA)),
    error=nullable(record(("message", "code"), message=TEXT, code=TEXT)),
    code=TEXT,
)
METRIC_NAMES: Schema = {"type": ["array", "null"], "items": TEXT, "description": "null or empty: all metrics"}
NODE_STATES = record(
    ("cluster", "nodes"),
    cluster=NAME,
    nodes=array(
        record(
            ("hostname", "states"),
            hostname=NAME,
            states=array(TEXT),
            cpusAllocated=COUNT,
            memoryAllocated=COUNT,
            gpusAllocated=COUNT,
            jobsRunning=COUNT,
        )
    ),
)
NODE_STATES_STORED = record(
    ("accepted", "rejected", "unknownHosts"), accepted=COUNT, rejected=COUNT, unknownHosts=array(TEXT)
)
_COLLECTORS = array(
    record(
        ("name", "state"),
        name={**NAME, "minLength": 1},
        state={"type": "string", "enum": ["works", "absent", "fails"]},
        problem=TEXT,
        advice=TEXT,
    ),
    maxItems=MAX_COLLECTORS,
)
NODE_REPORT = record(
    ("cluster", "hostname"),
    cluster={**NAME, "minLength": 1},
    hostname={**NAME, "minLength": 1},
    agentVersion={**TEXT, "maxLength": 100},
    collectors=_COLLECTORS,
    description={"type": ["object", "null"], "description": "a cluster.json of this node alone"},
    received=TIME,
    changed=TIME,
)
NODE_REPORTS = record(
    ("cluster", "reports"),
    cluster=NAME,
    reports=array(
        record(
            ("hostname", "agentVersion", "received", "changed", "described", "failing"),
            hostname=NAME,
            agentVersion=TEXT,
            received=TIME,
            changed=TIME,
            described=FLAG,
            failing=array(record(("name", "problem", "advice"), name=NAME, problem=TEXT, advice=TEXT)),
        )
    ),
)
NODE_LIST = record(
    ("nodes", "items", "page", "total", "states"),
    nodes=array(by_name({})),
    items=COUNT,
    page=COUNT,
    total=COUNT,
    states=by_name(COUNT),
)
NODE_HISTORY = record(
    ("node", "from", "to", "history", "truncated"),
    **{"node": by_name({}), "from": TIME, "to": TIME, "history": array(by_name({})), "truncated": FLAG},
    at=record(("time", "jobs"), time=TIME, jobs=array(component("Job")), totalJobs=COUNT),
)
NODE_SHARES = record(
    ("from", "to", "nodes", "unknownHosts", "seconds", "shares", "groups"),
    **{"from": TIME, "to": TIME, "nodes": COUNT, "unknownHosts": array(TEXT)},
    seconds=by_name(COUNT),
    shares=by_name(NUMBER),
    groups=array(by_name({})),
)
SAMPLE_QUERY = record(
    ("cluster", "from", "to"),
    **{"cluster": NAME, "from": INTEGER, "to": INTEGER, "with-stats": FLAG, "with-data": FLAG, "with-padding": FLAG},
    **{"queries": nullable(array(component("SampleQueryItem"))), "for-all-nodes": nullable(array(TEXT))},
)
SAMPLE_QUERY_ITEM = record(
    ("metric", "host"),
    **{"metric": NAME, "host": NAME, "type": nullable(SCOPE), "type-ids": nullable(array(TEXT)), "aggreg": FLAG},
    **{"subtype": nullable(TEXT), "subtype-ids": nullable(array(TEXT)), "resolution": COUNT, "scale-by": NUMBER},
    **{"resample-algo": {"type": "string", "enum": ["lttb", "average", "simple", "minmax"]}},
)
_SERIES = record(**{"from": INTEGER, "to": INTEGER, "data": array(nullable(NUMBER)), "resolution": INTEGER}, error=TEXT)
SAMPLE_QUERY_RESULT = record(("results",), results=array(array(_SERIES)), queries=array(component("SampleQueryItem")))
HEALTH_QUERY = record(
    ("cluster", "nodes", "metric-names"),
    **{"cluster": NAME, "nodes": array(TEXT), "metric-names": array(TEXT), "with-reasons": FLAG},
)
HEALTH_RESULT = by_name(record(("State", "HealthMetrics"), State=TEXT, HealthMetrics=TEXT))
STORE_SELECTORS = array(array(TEXT, maxItems=2))
REMOVED = record(("msg", "deleted"), msg=TEXT, deleted=COUNT)
REMOVED_BEFORE = record(("msg", "deleted", "unarchived"), msg=TEXT, deleted=COUNT, unarchived=COUNT)
PROBLEM = record(
    ("status", "code", "error"),
    status={**TEXT, "description": "the reason phrase of the HTTP status"},
    code={"type": "string", "enum": [str(code) for code in ErrorCode]},
    error={**TEXT, "description": "for people; may be reworded"},
    field={**TEXT, "description": "the path of a wrong field of the body"},
    requestId={**TEXT, "description": "under which the server's log has the cause"},
)

COMPONENTS: dict[str, Schema] = {
    "Job": JOB,
    "JobStart": JOB_START,
    "JobStop": JOB_STOP,
    "Problem": PROBLEM,
    "Resource": RESOURCE,
    "SampleQueryItem": SAMPLE_QUERY_ITEM,
    "Samples": SAMPLES,
    "Tag": TAG,
    "Unit": UNIT,
}
"""Schemas that others refer to by name."""
