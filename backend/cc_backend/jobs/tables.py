"""The tables of jobs, tags and nodes.

Columns have the meaning of the fields of `model.Job`; times are Unix seconds, memory is MB, energy is kWh.
"""

# ruff: noqa: D106 - peewee asks for an inner class Meta

import peewee

from cc_backend.db.fields import BigIntegerField, IntegerField, JSONField, SmallIntegerField, TextField

NOT_JUDGED = 9
"""Verdict of a job that could not be judged or was not yet judged; sorts behind all levels."""


class JobRow(peewee.Model):
    """One job. While it is running, `duration` is 0 and readers compute it from the start time."""

    id = peewee.AutoField()
    job_id = BigIntegerField(index=True)
    cluster = TextField()
    sub_cluster = TextField()
    partition = TextField(default="")
    project = TextField()
    user = TextField()
    name = TextField(default="")
    shared = TextField(default="none", constraints=[peewee.Check("shared IN ('none','single_user','multi_user')")])
    state = TextField()
    array_job_id = BigIntegerField(default=0)
    start_time = BigIntegerField()
    submit_time = BigIntegerField(default=0)
    duration = BigIntegerField(default=0)
    walltime = BigIntegerField(default=0)
    requested_memory = BigIntegerField(default=0)
    num_nodes = IntegerField()
    num_hwthreads = IntegerField(default=0)
    num_acc = IntegerField(default=0)
    smt = IntegerField(default=0)
    resources = JSONField()
    meta_data = JSONField(null=True)
    monitoring_status = SmallIntegerField(default=1, constraints=[peewee.Check("monitoring_status BETWEEN 0 AND 3")])
    archive_error = TextField(default="")
    energy = peewee.DoubleField(default=0.0)
    energy_footprint = JSONField(null=True)
    cluster_config = IntegerField(default=0)
    # the judgement: verdict as Level.order, first finding, version of the rules (0: never judged)
    verdict = SmallIntegerField(default=NOT_JUDGED)
    finding = JSONField(null=True)
    more_findings = IntegerField(default=0)
    lost_core_hours = peewee.DoubleField(default=0.0)
    lost_gpu_hours = peewee.DoubleField(default=0.0)
    judged_s = BigIntegerField(default=0)
    rules = SmallIntegerField(default=0)

    class Meta:
        table_name = "job"
        indexes = (
            (("cluster", "job_id", "start_time"), True),
            (("start_time",), False),
            (("user", "start_time"), False),
            (("project", "start_time"), False),
            (("cluster", "start_time"), False),
            (("state", "start_time"), False),
        )


# Literal, as SQLite uses a partial index only if the query has the same expression. The index stays small however many
# jobs there are, and the planner needs no statistics to choose it.
UNARCHIVED = peewee.SQL("monitoring_status = 1 AND state <> 'running'")
JobRow.add_index(JobRow.index(JobRow.start_time, name="job_unarchived").where(UNARCHIVED))

SETTLED = peewee.SQL("monitoring_status <> 1 AND state <> 'running'")
"""Finished jobs that do not wait to be archived."""
STOP_TIME = JobRow.start_time + JobRow.duration
"""End of a finished job (Unix seconds)."""

JUDGEMENT_COLUMNS = {
    "verdict": f"SMALLINT NOT NULL DEFAULT {NOT_JUDGED}",
    "finding": "TEXT",
    "more_findings": "INTEGER NOT NULL DEFAULT 0",
    "lost_core_hours": "DOUBLE PRECISION NOT NULL DEFAULT 0",
    "lost_gpu_hours": "DOUBLE PRECISION NOT NULL DEFAULT 0",
    "judged_s": "BIGINT NOT NULL DEFAULT 0",
    "rules": "SMALLINT NOT NULL DEFAULT 0",
}
"""Columns of the judgement with their types, for the upgrade of older job tables."""
JUDGEMENT_INDEX = "CREATE INDEX IF NOT EXISTS job_rules ON job (rules, start_time) WHERE " + SETTLED.sql
UNUSED_INDEXES = ("job_verdict", "job_stop", "jobrow_partition_start_time", "jobrow_array_job_id")
"""Indexes of earlier versions: what they were for is answered from the columns in memory."""


class ClusterConfigRow(peewee.Model):
    """One generation of a cluster.json: a distinct content; jobs name the one at their start."""

    id = peewee.AutoField()
    cluster = TextField()
    digest = TextField()
    document = JSONField()
    first_seen_s = BigIntegerField()

    class Meta:
        table_name = "cluster_config"
        indexes = ((("cluster", "digest"), True),)


class JobChangeRow(peewee.Model):
    """An entry of the log of changed jobs, written by triggers only; the job may no longer exist."""

    seq = peewee.AutoField()
    job = IntegerField()

    class Meta:
        table_name = "job_change"


class JobHostRow(peewee.Model):
    """A host of a job, to find jobs by node."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False)
    hostname = TextField()

    class Meta:
        table_name = "job_host"
        primary_key = peewee.CompositeKey("job", "hostname")
        without_rowid = True
        indexes = ((("hostname",), False),)


class LateHostRow(peewee.Model):
    """A host of an archived job whose last samples were missing when the archive was written."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False)
    hostname = TextField()

    class Meta:
        table_name = "job_late_host"
        primary_key = peewee.CompositeKey("job", "hostname")
        without_rowid = True


class FootprintRow(peewee.Model):
    """One footprint value of a job; `key` is `<metric>_<avg|min|max>`."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False)
    key = TextField()
    value = peewee.DoubleField()

    class Meta:
        table_name = "job_footprint"
        primary_key = peewee.CompositeKey("job", "key")
        without_rowid = True
        indexes = ((("key", "value"), False),)


class MetricListRow(peewee.Model):
    """Metrics with their units, as JSON text, whose statistics many jobs have in this order."""

    id = peewee.AutoField()
    document = TextField(unique=True)

    class Meta:
        table_name = "metric_list"


class JobStatisticsRow(peewee.Model):
    """The statistics of the metrics of an archived job, packed by `stored_statistics`."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False, primary_key=True)
    metric_list = peewee.ForeignKeyField(MetricListRow, lazy_load=False, index=False)
    numbers = peewee.BlobField()

    class Meta:
        table_name = "job_statistics"


class TagRow(peewee.Model):
    """A tag; `scope` is `global`, `admin` or the name of the user whose private tag it is."""

    id = peewee.AutoField()
    type = TextField()
    name = TextField()
    scope = TextField(default="global")

    class Meta:
        table_name = "tag"
        indexes = ((("type", "name", "scope"), True),)


class JobTagRow(peewee.Model):
    """Assignment of a tag to a job; `detected` ones were made by a detector, which may take them back."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False)
    tag = peewee.ForeignKeyField(TagRow, on_delete="CASCADE", lazy_load=False, index=True)
    detected = peewee.BooleanField(default=False)

    class Meta:
        table_name = "job_tag"
        primary_key = peewee.CompositeKey("job", "tag")
        without_rowid = True


class ScriptRow(peewee.Model):
    """A distinct job script, or its searched part; `digest` is of the text. No number is given twice."""

    id = peewee.AutoField(constraints=[peewee.SQL("AUTOINCREMENT")])
    digest = TextField(unique=True)
    text = TextField()

    class Meta:
        table_name = "script"


class JobScriptRow(peewee.Model):
    """The script of a job, for the search."""

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False, primary_key=True)
    script = peewee.ForeignKeyField(ScriptRow, lazy_load=False, index=True)

    class Meta:
        table_name = "job_script"


class ScriptProgressRow(peewee.Model):
    """How far the search in job scripts has come; one row.

    Scripts up to the number `indexed_to` are in SQLite's index; those of jobs with ids below `unread_below` are still
    to be read, 0 when all have been.
    """

    id = peewee.AutoField()
    indexed_to = BigIntegerField(default=0)
    unread_below = BigIntegerField(default=0)

    class Meta:
        table_name = "script_progress"


class RejectedTagRow(peewee.Model):
    """A detected tag that somebody took from a job: detectors do not give it to this job again.

    By name, as the tag itself may be gone.
    """

    job = peewee.ForeignKeyField(JobRow, on_delete="CASCADE", lazy_load=False, index=False)
    type = TextField()
    name = TextField()
    scope = TextField()

    class Meta:
        table_name = "job_rejected_tag"
        primary_key = peewee.CompositeKey("job", "type", "name", "scope")
        without_rowid = True


class MetaChangeRow(peewee.Model):
    """A finished job whose tags or meta data were changed: its meta.json in the archive is to follow.

    `revision` counts the changes, so that a change is not lost that is made while the file is written.
    """

    job = peewee.ForeignKeyField(JobRow, primary_key=True, on_delete="CASCADE", lazy_load=False)
    revision = IntegerField(default=1)

    class Meta:
        table_name = "job_meta_change"


class IdempotencyKeyRow(peewee.Model):
    """The kept answer to a request with an idempotency key; `key_hash` is of its caller and key."""

    key_hash = TextField(primary_key=True)
    request_hash = TextField()
    status = SmallIntegerField()
    body = TextField()
    kept_s = BigIntegerField(index=True)

    class Meta:
        table_name = "idempotency_key"


class DetectionRow(peewee.Model):
    """A job that has started or stopped, whose applications are to be detected.

    `revision` counts these events, so that none is lost that comes while the job is looked at.
    """

    job = peewee.ForeignKeyField(JobRow, primary_key=True, on_delete="CASCADE", lazy_load=False)
    revision = IntegerField(default=1)

    class Meta:
        table_name = "job_detection"


class NodeRow(peewee.Model):
    """A node that was reported at least once: the time of the last report, and its newest row of node_state.

    A report that repeats the previous one changes `seen_s` only.
    """

    id = peewee.AutoField()
    cluster = TextField()
    hostname = TextField()
    sub_cluster = TextField()
    latest_id = BigIntegerField(default=0)
    seen_s = BigIntegerField(default=0)

    class Meta:
        table_name = "node"
        indexes = ((("cluster", "hostname"), True),)


class NodeReportRow(peewee.Model):
    """The latest report of the agent of a node, as JSON; a report that says the same changes `received_s` only."""

    cluster = TextField()
    hostname = TextField()
    content = TextField()
    failing = TextField(default="")
    description = TextField()
    content_hash = TextField()
    received_s = BigIntegerField(index=True)
    changed_s = BigIntegerField()

    class Meta:
        table_name = "node_report"
        primary_key = peewee.CompositeKey("cluster", "hostname")


class NodeStateRow(peewee.Model):
    """State of a node from `time_s` until its next row, as reported, with the health of its metrics.

    `allocated_s` to `down_s` are the seconds that the node was in each state before this row: the time in a state
    between two moments is a difference of two rows, however many lie between them.
    """

    id = peewee.BigAutoField()
    node = peewee.ForeignKeyField(NodeRow, on_delete="CASCADE", lazy_load=False, index=False)
    time_s = BigIntegerField(index=True)
    state = TextField()
    reported_states = JSONField()
    health = TextField()
    missing_metrics = JSONField()
    degraded_metrics = JSONField()
    cpus_allocated = BigIntegerField(default=0)
    memory_allocated = BigIntegerField(default=0)
    gpus_allocated = BigIntegerField(default=0)
    jobs_running = BigIntegerField(default=0)
    allocated_s = BigIntegerField(default=0)
    reserved_s = BigIntegerField(default=0)
    idle_s = BigIntegerField(default=0)
    mixed_s = BigIntegerField(default=0)
    down_s = BigIntegerField(default=0)

    class Meta:
        table_name = "node_state"
        indexes = ((("node", "time_s"), False),)


ALL = (
    JobRow,
    JobChangeRow,
    ClusterConfigRow,
    JobHostRow,
    LateHostRow,
    FootprintRow,
    MetricListRow,
    JobStatisticsRow,
    TagRow,
    JobTagRow,
    ScriptRow,
    JobScriptRow,
    ScriptProgressRow,
    RejectedTagRow,
    MetaChangeRow,
    IdempotencyKeyRow,
    DetectionRow,
    NodeRow,
    NodeStateRow,
)
