"""Composition root: the only place where the parts of the backend are created and connected."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from argon2 import PasswordHasher
from flask import Flask, Response
from werkzeug.wrappers import Request

from cc_backend import web
from cc_backend.api.blueprint import blueprint as api_blueprint
from cc_backend.api.routes import ROUTES
from cc_backend.api.write import store_batch
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.known_browsers import KnownBrowsers
from cc_backend.auth.permissions import Permission
from cc_backend.auth.sessions import Sessions
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users
from cc_backend.clusters import ClusterFiles, ClusterRegistry, HostsInUse
from cc_backend.db.database import Database, FaultKind, open_database
from cc_backend.db.database_file import replacement_rejection
from cc_backend.db.database_watch import DatabaseReplacement, DatabaseWatch
from cc_backend.errors import Unavailable
from cc_backend.http import guard
from cc_backend.http.direct_write import DirectWrite
from cc_backend.http.fallback import cross_origin_headers
from cc_backend.http.routing import ingest_rules, lane_by_path
from cc_backend.httpserver.headers import COMMON_HEADERS, finish_response
from cc_backend.httpserver.server import Application
from cc_backend.httpserver.workers import Lane
from cc_backend.jobdata.external_store import ExternalStore, parse_endpoints
from cc_backend.jobdata.judge import Judge
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.jobdata.store_tables import build_tables
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_rows import JobReader
from cc_backend.jobs.judgements import Judgements
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.node_states import NodeStates
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.metricstore import IngestResult
from cc_backend.migrations import LATEST_VERSION, installation_id, migrate
from cc_backend.runtime.health import HealthCheck, HealthMonitor
from cc_backend.runtime.trusted_clock import TrustedClock, boot_time_s
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import BackendMainSettings, BackendSettings
from cc_backend.startup.data_locks import lock_data, record_database_file
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
_MAX_FULL_CACHES = 4

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
    database = open_database(
        settings.main.db,
        busy_timeout_s=settings.main.db_config.busy_timeout_ms / 1000,
        cache_size_mb=connection_cache_mb(settings.main),
    )

    def now_s() -> int:
        return int(clock())

    migrate(database, now_s=now_s())
    record_database_file(lock_files[0], database.path)
    generations = ClusterGenerations(database)
    with tolerate_damage(database, "new jobs do not record the cluster configuration they start with"):
        numbers = generations.record(clusters, now_s=int(clock()))
        clusters.replace_with(ClusterRegistry(dict(clusters.items()), generations=numbers, earlier=generations))
    users = Users(database, hasher=hasher)
    keys = settings.auth.jwts
    tokens = Tokens(
        database,
        TokenKeys.from_base64(private=keys.private_key, public=keys.public_key),
        validate_user=keys.validate_user,
    )
    metrics, nodes = build_tables(clusters)
    with tolerate_damage(database, "of running jobs, samples of what has left cluster.json are not taken"):
        held = generations.hosts_in_use()
        warn_of_unconfigured_in_use(clusters, held)
        metrics, nodes = build_tables(clusters, held)
    store = open_store(settings.metric_store, metrics, int(clock()), nodes=nodes, background=True)
    reader = JobReader(database)
    job_queries = JobQueries(database, clusters, reader)
    with tolerate_damage(database, "missing folders of the job archive are not detected"):
        archive.folders.expect_clusters(job_queries.archived_clusters(), job_queries.has_archived)

    def with_other_file() -> None:
        record_database_file(lock_files[0], database.path)
        reload_after_replacement(generations, clusters, cluster_files, now_s)

    watch = DatabaseWatch(database, replacement=database_replacement(database, with_other_file))
    stores = StoreRouter(store, [ExternalStore(place) for place in parse_endpoints(settings.metric_store_external)])
    metricdata = MetricData(stores, archive, clusters)
    return Services(
        settings=settings,
        database=database,
        clusters=clusters,
        cluster_files=cluster_files,
        cluster_generations=generations,
        store=store,
        store_router=stores,
        archive=archive,
        job_lifecycle=JobLifecycle(database, clusters),
        job_queries=job_queries,
        running_jobs=RunningJobs(database, reader),
        archive_queue=ArchiveQueue(database, reader),
        node_states=NodeStates(database, clusters),
        metric_data=metricdata,
        judge=Judge(
            judgements=Judgements(database),
            metricdata=metricdata,
            stores=stores,
            store=store,
            archive=archive,
            clusters=clusters,
        ),
        users=users,
        tokens=tokens,
        sessions=Sessions(database, max_age_s=settings.main.session_max_age_s, idle_s=settings.main.session_idle_s),
        known_browsers=KnownBrowsers(database),
        database_watch=watch,
        health=HealthMonitor(
            (
                HealthCheck("the metric store", store.check_disk, store.faults),
                HealthCheck("the database", watch.poll, database.faults),
                HealthCheck("the job archive", archive.poll, archive.faults),
            )
        ),
        lock_files=lock_files,
        clock=clock,
        trusted_clock=TrustedClock(clock, monotonic=monotonic_clock, last_known_s=store.last_heartbeat_s),
        tables_in_use=None if (metrics, nodes) == build_tables(clusters) else (metrics, nodes),
    )


@contextmanager
def tolerate_damage(database: Database, consequence: str) -> Iterator[None]:
    """Continue the start despite a damaged page of the database, and log the consequence.

    The health check reports the damage. Until a backup is restored, samples are taken and readable data is shown.
    """
    try:
        yield
    except Unavailable:
        if not database.has_fault(FaultKind.DAMAGED):
            raise
        logger.error("the database is damaged: %s until a backup is restored", consequence)  # noqa: TRY400 logged


def database_replacement(database: Database, then: Callable[[], None]) -> DatabaseReplacement:
    """Which files may replace the database of the running server: those of the same installation and schema version.

    Generations of cluster configurations may have other numbers in them.
    """
    installation = ""
    with tolerate_damage(database, "no backup that is put in its place is used without a restart"):
        installation = installation_id(database)
    return DatabaseReplacement(partial(replacement_rejection, installation=installation, version=LATEST_VERSION), then)


def reload_after_replacement(
    generations: ClusterGenerations, clusters: ClusterRegistry, cluster_files: ClusterFiles, now_s: Callable[[], int]
) -> None:
    """Reload what is cached of the former database; the next check of the cluster.json files does the rest."""
    generations.load.cache_clear()
    cluster_files.mark_changed()
    try:
        numbers = generations.record(clusters, now_s=now_s())
    except Unavailable as error:
        logger.warning("cluster configuration not recorded yet: %s", error)
        numbers = {}
    clusters.replace_with(ClusterRegistry(dict(clusters.items()), generations=numbers, earlier=generations))


def warn_of_unconfigured_in_use(clusters: ClusterRegistry, held: Iterable[HostsInUse]) -> None:
    """Log the clusters and subclusters that have unfinished jobs but are no longer configured."""
    for group in held:
        if group.cluster not in clusters or group.sub_cluster not in clusters[group.cluster].sub_clusters:
            known = clusters.sub_cluster_as_started(group.cluster, group.sub_cluster, group.generation) is not None
            logger.warning(
                "cluster configuration: cluster %r has no subcluster %r, where jobs run or wait to be archived; %s",
                group.cluster,
                group.sub_cluster,
                "they keep what they started with" if known else "they cannot be archived without it",
            )


def connection_cache_mb(main: BackendMainSettings) -> int:
    """Page cache in MB of one connection: there is one per thread, together at most four times the configured size."""
    cache_mb = main.db_config.cache_size_mb
    return max(1, min(cache_mb, _MAX_FULL_CACHES * cache_mb // main.threads))


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

    def take(incoming: Request) -> IngestResult:
        return store_batch(
            services, incoming, guard.authenticate_token_request(app, incoming, Permission.METRICS_WRITE)
        )

    def fields(incoming: Request) -> Mapping[str, str]:
        always = HTTPS_SECURITY_HEADERS if guard.is_https_request(app, incoming) else SECURITY_HEADERS
        return {**always, **cross_origin_headers(incoming.path)}

    return DirectWrite(app.wsgi_app, ingest_rules(ROUTES), take, fields, request_metrics_of(app))
