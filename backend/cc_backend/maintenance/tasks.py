"""The periodic tasks of the backend: one table with interval and thread of each.

Several processes may share a PostgreSQL database: what is done to it and to the archive is done by the leader only.
"""

import threading
from collections.abc import Callable
from functools import partial

from cc_backend.auth.token_expiry import log_expiring_tokens
from cc_backend.jobdata.gaps import explainer_for
from cc_backend.jobs.detection_queue import DETECTION_BATCH
from cc_backend.jobs.overdue_jobs import end_overdue_jobs
from cc_backend.maintenance.archiver import Archiver, ArchivingPolicy
from cc_backend.maintenance.backfill_statistics import StatisticsBackfill
from cc_backend.maintenance.meta_updater import MetaUpdater
from cc_backend.maintenance.reload_clusters import reload_clusters
from cc_backend.maintenance.running_footprints import STEP_EVERY_S, FootprintRefresher
from cc_backend.maintenance.store_tasks import store_tasks
from cc_backend.runtime.periodic import PeriodicTask
from cc_backend.services import Services

ANALYZE_EVERY_S = 86400.0
ARCHIVE_EVERY_S = 2.0
CHECKPOINT_EVERY_S = 1.0
CLUSTERS_EVERY_S = 5.0
IDEMPOTENCY_KEYS_EVERY_S = 300.0
JOB_COLUMNS_EVERY_S = 60.0
JOB_SCRIPTS_EVERY_S = 10.0
UNUSED_SCRIPTS_EVERY_S = 3600.0
JUDGE_EVERY_S = 2.0
META_EVERY_S = 2.0
INTEGRITY_EVERY_S = 10.0
NODE_STATES_EVERY_S = 3600.0
OVERDUE_JOBS_EVERY_S = 600.0
STATISTICS_EVERY_S = 5.0
SESSIONS_EVERY_S = 3600.0
TAG_EVERY_S = 2.0
MAX_TAG_BATCHES = 50
TOKEN_ENDS_EVERY_S = 86400.0
TOKENS_EVERY_S = 60.0


def periodic_tasks(services: Services, stopping: threading.Event) -> tuple[PeriodicTask, ...]:
    """All periodic tasks of a backend; long ones end early when `stopping` is set."""
    ends = _end_of_round(services, stopping)
    archiver = make_archiver(services)
    backfill = StatisticsBackfill(services.stored_statistics, services.job_queries, services.archive, services.now_s)
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)

    def archive() -> None:
        services.archive.require_root()  # fails once here instead of for each job, and is retried soon
        archiver.run_once(now_s=services.now_s(), retention_now_s=services.retention_now_s(), stopping=ends)

    updater = MetaUpdater(services.database, services.archive_queue, services.archive)

    def update_meta() -> None:
        updater.run_once(now_s=services.now_s(), stopping=ends)

    def footprints() -> None:
        refresher.step(now_s=services.now_s(), stopping=ends)

    def judgements() -> None:
        services.judge.judge_outdated(now_s=services.now_s(), stopping=ends)

    def end_sessions() -> None:
        services.sessions.purge(now_s=services.retention_now_s())

    def end_of_tokens() -> None:
        log_expiring_tokens(services.tokens, services.clock())

    def prune_node_states() -> None:
        retention = services.settings.main.nodestate_retention
        if retention.policy == "delete":
            services.node_states.prune(services.retention_now_s() - 3600 * retention.age, stopping=ends)

    def leading(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: run() if services.database_watch.is_leader() else None

    return (
        PeriodicTask("archive", leading(archive), ARCHIVE_EVERY_S, needs_complete_store=True, thread="archiving"),
        PeriodicTask("archived tags and meta data", leading(update_meta), META_EVERY_S, thread="archiving"),
        PeriodicTask("footprints", leading(footprints), STEP_EVERY_S, needs_complete_store=True),
        PeriodicTask("judgements", leading(judgements), JUDGE_EVERY_S, needs_complete_store=True, thread="judging"),
        *_tagging_tasks(services, stopping),
        PeriodicTask(
            "job columns",
            partial(services.job_columns.maintain, stopping.is_set),
            JOB_COLUMNS_EVERY_S,
            first_run_s=0.0,
            thread="job columns",
        ),
        PeriodicTask("statistics", leading(partial(backfill.step, ends)), STATISTICS_EVERY_S, thread="job columns"),
        PeriodicTask(
            "job scripts",
            leading(partial(services.job_columns.script_search.maintain, ends)),
            JOB_SCRIPTS_EVERY_S,
            thread="job columns",
        ),
        PeriodicTask(
            "unused job scripts",
            leading(partial(services.job_columns.script_search.remove_unused, stopping.is_set)),
            UNUSED_SCRIPTS_EVERY_S,
            thread="job columns",
        ),
        *store_tasks(
            services,
            services.running_jobs.retention_holds,
            snapshot_interval_s=services.settings.metric_store.snapshot_interval_s,
        ),
        PeriodicTask("clusters", partial(reload_clusters, services), CLUSTERS_EVERY_S),
        PeriodicTask("end sessions", leading(end_sessions), SESSIONS_EVERY_S),
        PeriodicTask("old node states", leading(prune_node_states), NODE_STATES_EVERY_S),
        PeriodicTask(
            "database integrity", services.database_watch.check_integrity, INTEGRITY_EVERY_S, thread="archiving"
        ),
        PeriodicTask("database checkpoint", services.database.checkpoint, CHECKPOINT_EVERY_S, thread="checkpoints"),
        PeriodicTask("database statistics", leading(services.database.analyze), ANALYZE_EVERY_S),
        PeriodicTask("overdue jobs", leading(partial(_end_overdue_jobs, services)), OVERDUE_JOBS_EVERY_S),
        PeriodicTask("idempotency keys", leading(partial(_prune_idempotency_keys, services)), IDEMPOTENCY_KEYS_EVERY_S),
        PeriodicTask("old node reports", leading(partial(_prune_node_reports, services)), NODE_STATES_EVERY_S),
        PeriodicTask("tokens that end", leading(end_of_tokens), TOKEN_ENDS_EVERY_S),
        PeriodicTask("last use of tokens", services.tokens.flush_last_used, TOKENS_EVERY_S),
    )


def _end_of_round(services: Services, stopping: threading.Event) -> Callable[[], bool]:
    """Whether a round of work is to end early: also when another process may have become the leader meanwhile."""
    return lambda: stopping.is_set() or not services.database_watch.is_leader()


def _end_overdue_jobs(services: Services) -> None:
    grace_s = services.settings.main.stop_jobs_exceeding_walltime
    if grace_s:  # by the time of retention: a jump of the clock ends no job
        end_overdue_jobs(services.database, grace_s=grace_s, now_s=services.retention_now_s())


def _prune_idempotency_keys(services: Services) -> None:
    services.idempotency_keys.prune(services.now_s())


def _prune_node_reports(services: Services) -> None:
    services.node_reports.prune(services.retention_now_s())


def _tagging_tasks(services: Services, stopping: threading.Event) -> tuple[PeriodicTask, ...]:
    """The task that detects applications, if job taggers are enabled."""

    def tag_jobs() -> None:
        services.job_tagger.reload()
        if not services.database_watch.is_leader():
            return
        for _ in range(MAX_TAG_BATCHES):  # so many in a row after many starts at once
            if services.job_tagger.tag_queued(stopping=_end_of_round(services, stopping)) < DETECTION_BATCH:
                break

    enabled = services.settings.main.enable_job_taggers
    return (PeriodicTask("applications of jobs", tag_jobs, TAG_EVERY_S, thread="judging"),) if enabled else ()


def make_archiver(services: Services) -> Archiver:
    """The archiver with the policy from the settings."""
    archive = services.settings.archive
    return Archiver(
        queue=services.archive_queue,
        metric_data=services.metric_data,
        gap_explainer=lambda job: explainer_for(services.store_router, services.store, job),
        archive=services.archive,
        clusters=services.clusters,
        judge=services.judge,
        tagger=services.job_tagger if services.settings.main.enable_job_taggers else None,
        policy=ArchivingPolicy(
            late_data_s=archive.late_data_s,
            retention_s=services.settings.metric_store.retention_in_memory_s,
            core_scope_nodes=archive.core_scope_nodes,
        ),
    )
