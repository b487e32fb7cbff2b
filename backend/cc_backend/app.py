"""Composition root: the only place where the parts of the backend are created and connected."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from flask import Flask, Response
from werkzeug.wrappers import Request

from cc_backend import web
from cc_backend.api.blueprint import blueprint as api_blueprint
from cc_backend.api.routes import ROUTES
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.known_browsers import KnownBrowsers
from cc_backend.auth.sessions import Sessions
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users
from cc_backend.clusters import ClusterFiles, ClusterRegistry, HostsInUse
from cc_backend.db.database import Database, DatabaseWatch
from cc_backend.http import guard
from cc_backend.http.direct_write import DirectHandler, DirectWrite
from cc_backend.http.fallback import cross_origin_headers
from cc_backend.http.routing import Route, direct_routes, lane_by_path
from cc_backend.httpserver.headers import COMMON_HEADERS, finish_response
from cc_backend.httpserver.server import Application
from cc_backend.httpserver.workers import Lane
from cc_backend.jobdata.external_store import ExternalStore, parse_endpoints
from cc_backend.jobdata.job_tagger import JobTagger, open_detectors
from cc_backend.jobdata.judge import Judge
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.jobdata.store_tables import build_tables
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_backend.jobs.idempotency_keys import IdempotencyKeys
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_rows import JobReader
from cc_backend.jobs.job_statistics import JobStatistics
from cc_backend.jobs.judgements import Judgements
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.machine_states import MachineStates
from cc_backend.jobs.node_history import NodeHistory
from cc_backend.jobs.node_reports import NodeReports
from cc_backend.jobs.node_states import NodeStates
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.metricstore import HostTable, MetricStore, MetricTable
from cc_backend.runtime.health import HealthCheck, HealthMonitor
from cc_backend.runtime.trusted_clock import TrustedClock, boot_time_s
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import BackendSettings
from cc_backend.startup.data_locks import lock_data
from cc_backend.startup.database_opening import (
    open_server_database,
    record_generations,
    tolerate_damage,
    watch_database,
)
from cc_backend.startup.store_opening import open_store
from cc_backend.telemetry.request_metrics import request_metrics_of

# Pages load nothing from other sites and have no inline script or style.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    **COMMON_HEADERS,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
HSTS_S = 365 * 24 * 3600
HTTPS_SECURITY_HEADERS = {**SECURITY_HEADERS, "Strict-Transport-Security": f"max-age={HSTS_S}"}

logger = logging.getLogger(__name__)


def create_app(
    settings: BackendSettings,
    *,
    clock: Callable[[], float] = time.time,
    monotonic_clock: Callable[[], float] = boot_time_s,
    hasher: PasswordHasher | None = None,
) -> Flask:
    """The web application with its services in `app.extensions["cockpit"]`; background work is not started.

    `hasher` defaults to the one of `password_hasher`.

    Raises:
        SettingsError: a setting is invalid.
        BackendError: the database or the archive cannot be opened.
    """
    app = Flask("cc_backend", static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False  # a redirect to the merged path would lose the body of a POST
    app.config["MAX_CONTENT_LENGTH"] = max(settings.main.max_batch_bytes, settings.main.max_json_bytes)
    services = create_services(settings, clock, monotonic_clock, hasher)
    app.extensions[EXTENSION] = services
    app.after_request(add_security_headers)
    app.register_blueprint(api_blueprint())
    app.register_blueprint(web.make_blueprint())
    guard.install_guard(app, services)
    guard.require_declared_permissions(app)
    app.wsgi_app = wrap_direct_write(app, services)  # type: ignore[method-assign]
    return app


def server_application(app: Flask, settings: BackendSettings) -> Application:
    """The application for the HTTP server: who may send which body, and which lane serves each path."""
    lane = lane_by_path(ROUTES)

    def body_limit(path: str) -> int:
        return settings.main.max_batch_bytes if lane(path) is Lane.INGEST else settings.main.max_json_bytes

    return Application(
        app,
        lambda environ: guard.may_send_body(app, environ),
        body_limit,
        lane,
        lambda environ: guard.client_address_of(app, environ),
        guard.SESSION_COOKIE,
    )


def create_services(
    settings: BackendSettings,
    clock: Callable[[], float] = time.time,
    monotonic_clock: Callable[[], float] = boot_time_s,
    hasher: PasswordHasher | None = None,
) -> Services:
    """All services, opened and connected; `Services.close` closes them."""
    lock_files = lock_data(settings)
    archive = FileArchive(Path(settings.archive.path))
    cluster_files = ClusterFiles(Path(settings.archive.path))
    clusters = open_clusters(cluster_files)

    def now_s() -> int:
        return int(clock())

    database = open_server_database(settings.main, lock_files[0], now_s=now_s())
    generations = record_generations(database, clusters, now_s=now_s())
    endpoints = parse_endpoints(settings.metric_store_external)
    job_columns = JobColumns(database)
    watch = watch_database(
        database,
        lock_files[0],
        clusters=clusters,
        cluster_files=cluster_files,
        generations=generations,
        now_s=now_s,
        has_store=all(endpoint.scope != "*" for endpoint in endpoints),
        on_replaced=job_columns.reset,
    )
    tokens = open_tokens(database, settings)
    store, tables_in_use = open_store_for_jobs(settings, clusters, generations, database, now_s=now_s())
    reader = JobReader(database)
    job_queries = JobQueries(database, clusters, reader, job_columns)
    with tolerate_damage(database, "missing folders of the job archive are not detected"):
        archive.folders.expect_clusters(job_queries.archived_clusters(), job_queries.has_archived)

    stores = StoreRouter(store, [ExternalStore(endpoint) for endpoint in endpoints])
    metric_data = MetricData(stores, archive, clusters)
    return Services(
        settings=settings,
        database=database,
        clusters=clusters,
        cluster_files=cluster_files,
        cluster_generations=generations,
        store=store,
        store_router=stores,
        archive=archive,
        job_lifecycle=JobLifecycle(database, clusters, queues_detection=settings.main.enable_job_taggers),
        idempotency_keys=IdempotencyKeys(database),
        job_columns=job_columns,
        job_queries=job_queries,
        job_statistics=JobStatistics(
            database, clusters, job_queries, job_columns, short_job_s=settings.main.short_running_jobs_duration
        ),
        running_jobs=RunningJobs(database, reader),
        stored_statistics=StoredStatistics(database),
        archive_queue=ArchiveQueue(database, reader),
        node_states=NodeStates(database, clusters),
        node_reports=NodeReports(database, clusters),
        machine_states=MachineStates(Path(folder)) if (folder := settings.main.machine_state_dir) else None,
        node_history=NodeHistory(database),
        metric_data=metric_data,
        judge=Judge(
            judgements=Judgements(database),
            metricdata=metric_data,
            stores=stores,
            store=store,
            archive=archive,
            clusters=clusters,
        ),
        job_tagger=JobTagger(
            database=database,
            clusters=clusters,
            archive=archive,
            detectors=open_detectors(settings.main.job_taggers),
        ),
        users=Users(database, hasher=hasher),
        tokens=tokens,
        sessions=Sessions(database, max_age_s=settings.main.session_max_age_s, idle_s=settings.main.session_idle_s),
        known_browsers=KnownBrowsers(database),
        database_watch=watch,
        health=monitor_health(store, watch, database, archive),
        lock_files=lock_files,
        clock=clock,
        trusted_clock=TrustedClock(clock, monotonic=monotonic_clock, last_known_s=store.last_heartbeat_s),
        max_json_bytes=settings.main.max_json_bytes,
        tables_in_use=tables_in_use,
    )


def open_tokens(database: Database, settings: BackendSettings) -> Tokens:
    """The tokens in the database, with the keys that the settings name."""
    jwts = settings.auth.jwts
    keys = TokenKeys.from_base64(private=jwts.private_key, public=jwts.public_key)
    return Tokens(database, keys, validate_user=jwts.validate_user)


def open_store_for_jobs(
    settings: BackendSettings,
    clusters: ClusterRegistry,
    generations: ClusterGenerations,
    database: Database,
    *,
    now_s: int,
) -> tuple[MetricStore, tuple[MetricTable, HostTable] | None]:
    """The metric store, and the metrics and hosts that it accepts if jobs need more than the configuration has."""
    configured = tables = build_tables(clusters)
    with tolerate_damage(database, "samples of what has left cluster.json are not accepted for running jobs"):
        hosts_in_use = generations.hosts_in_use()
        warn_of_unconfigured_in_use(clusters, hosts_in_use)
        tables = build_tables(clusters, hosts_in_use)
    metrics, nodes = tables
    store = open_store(settings.metric_store, metrics, now_s, nodes=nodes, background=True)
    return store, None if tables == configured else tables


def monitor_health(store: MetricStore, watch: DatabaseWatch, database: Database, archive: FileArchive) -> HealthMonitor:
    """The checks of everything that has to work for samples and jobs to be stored."""
    return HealthMonitor(
        (
            HealthCheck("the metric store", store.check_disk, store.faults),
            HealthCheck("the database", watch.check, database.faults),
            HealthCheck("the job archive", archive.check, archive.faults),
        )
    )


def warn_of_unconfigured_in_use(clusters: ClusterRegistry, hosts_in_use: Iterable[HostsInUse]) -> None:
    """Log the clusters and subclusters that have unfinished jobs but are no longer configured."""
    for group in hosts_in_use:
        if group.cluster not in clusters or group.sub_cluster not in clusters[group.cluster].sub_clusters:
            known = clusters.sub_cluster_as_started(group.cluster, group.sub_cluster, group.generation) is not None
            logger.warning(
                "cluster configuration: cluster %r has no subcluster %r, where jobs run or wait to be archived; %s",
                group.cluster,
                group.sub_cluster,
                "they keep what they started with" if known else "they cannot be archived without it",
            )


def open_clusters(files: ClusterFiles) -> ClusterRegistry:
    """The clusters that the archive describes; warnings about them are logged."""
    clusters, warnings = files.read()
    for warning in warnings:
        logger.warning("cluster configuration: %s", warning)
    if not clusters:
        logger.warning("no cluster is configured; add one with `cc-backend cluster add FILE`")
    return clusters


def add_security_headers(response: Response) -> Response:
    """The response with security headers, which limit what browsers allow to the pages."""
    return finish_response(response, HTTPS_SECURITY_HEADERS if guard.is_https() else SECURITY_HEADERS)


def wrap_direct_write(app: Flask, services: Services) -> DirectWrite:
    """The WSGI application with the direct path for its write routes in front."""

    def bind(route: Route, handler: DirectHandler) -> Callable[[Request], Any]:
        def store(incoming: Request) -> Any:
            caller = guard.authenticate_token_request(app, incoming, route.permission)
            return handler.store(services, incoming, caller)

        return store

    def header_fields(incoming: Request) -> Mapping[str, str]:
        always = HTTPS_SECURITY_HEADERS if guard.is_https_request(app, incoming) else SECURITY_HEADERS
        return {**always, **cross_origin_headers(incoming.path)}

    return DirectWrite(app.wsgi_app, direct_routes(ROUTES, bind), header_fields, request_metrics_of(app))
