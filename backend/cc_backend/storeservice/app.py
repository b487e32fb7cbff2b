"""The web application of the metric store program, with the interface of cc-metric-store."""

import logging
import time
from collections.abc import Callable
from functools import partial

from flask import Flask
from werkzeug.exceptions import HTTPException

from cc_backend.auth.client_address import is_loopback
from cc_backend.auth.signatures import SignatureVerifier
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.http import problems
from cc_backend.http.direct_write import DirectWrite
from cc_backend.http.guard import require_declared_permissions
from cc_backend.http.routing import direct_routes, lane_by_path
from cc_backend.httpserver.headers import COMMON_HEADERS, finish_response
from cc_backend.httpserver.listening import listen_address
from cc_backend.httpserver.server import Application
from cc_backend.httpserver.workers import Lane
from cc_backend.runtime.health import HealthCheck, HealthMonitor
from cc_backend.runtime.trusted_clock import TrustedClock, boot_time_s
from cc_backend.services import EXTENSION
from cc_backend.startup.store_opening import open_store
from cc_backend.storeservice import routes
from cc_backend.storeservice.metric_table import metric_table
from cc_backend.storeservice.retention_holds import RetentionHoldsClient
from cc_backend.storeservice.services import StoreServices
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_backend.storeservice.token_gate import TokenGate
from cc_backend.telemetry.request_metrics import request_metrics_of
from cc_common.errors import CockpitError, SettingsError

logger = logging.getLogger(__name__)


def check_settings(settings: StoreServiceSettings) -> None:
    """Check that a server can run with these settings.

    Raises:
        SettingsError: the address or the key is invalid, no metric is configured, or the store has no key and is not
            on loopback.
    """
    host, _ = listen_address(settings.main.addr)
    make_gate(settings)
    make_holds_client(settings)
    if not settings.metrics:
        raise SettingsError("metrics", "metrics: no metric is configured, so nothing would be kept")
    if settings.main.jwt_public_key or settings.main.open_to_all or is_loopback(host):
        return
    raise SettingsError(
        "main.jwt-public-key",
        f"main.jwt-public-key is empty and {settings.main.addr} can be reached by others: everybody could read, "
        "write and free samples. Set the key, listen on localhost, or say main.open-to-all: true",
    )


def make_gate(settings: StoreServiceSettings) -> TokenGate:
    """The gate with the key of the settings; raises SettingsError for an invalid key."""
    key = settings.main.jwt_public_key
    if not key:
        return TokenGate(None)
    try:
        public = TokenKeys.from_base64(public=key).public
    except SettingsError as error:
        raise SettingsError("main.jwt-public-key", f"main.jwt-public-key: {error}") from error
    return TokenGate(SignatureVerifier(public, requires_subject=False), revoked=settings.main.revoked_tokens)


def make_holds_client(settings: StoreServiceSettings) -> RetentionHoldsClient | None:
    """The client for the holds of running jobs, if a backend is set; raises SettingsError for an invalid address."""
    main = settings.main
    return RetentionHoldsClient(main.backend_url, main.backend_token) if main.backend_url else None


def create_services(
    settings: StoreServiceSettings,
    clock: Callable[[], float] = time.time,
    monotonic_clock: Callable[[], float] = boot_time_s,
) -> StoreServices:
    """The opened services; `StoreServices.close` closes them."""
    gate = make_gate(settings)
    if gate.is_open:
        logger.warning(
            "main.jwt-public-key is empty: whoever reaches %s may read, write and free all samples", settings.main.addr
        )
    holds_client = make_holds_client(settings)
    store = open_store(settings.metric_store, metric_table(settings), int(clock()), background=True)
    health = HealthMonitor([HealthCheck("the metric store", store.check_disk, store.faults)])
    trusted_clock = TrustedClock(clock, monotonic=monotonic_clock, last_known_s=store.last_heartbeat_s)
    return StoreServices(
        settings=settings,
        store=store,
        gate=gate,
        holds_client=holds_client,
        health=health,
        clock=clock,
        trusted_clock=trusted_clock,
        max_json_bytes=settings.main.max_json_bytes,
    )


def create_app(
    settings: StoreServiceSettings,
    *,
    clock: Callable[[], float] = time.time,
    monotonic_clock: Callable[[], float] = boot_time_s,
) -> Flask:
    """The web application with its services in `app.extensions`; background work is not started.

    Raises:
        SettingsError: a setting is invalid.
        BackendError: the folder of the samples cannot be used.
    """
    app = Flask("cc_backend.storeservice", static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False  # a redirect to the merged path would lose the body of a POST
    app.config["MAX_CONTENT_LENGTH"] = max(settings.main.max_batch_bytes, settings.main.max_json_bytes)
    services = app.extensions[EXTENSION] = create_services(settings, clock, monotonic_clock)
    app.register_error_handler(CockpitError, problems.respond_to_cockpit_error)
    app.register_error_handler(HTTPException, problems.respond_to_http_error)
    app.register_error_handler(Exception, problems.respond_to_unexpected)
    app.after_request(finish_response)
    app.register_blueprint(routes.make_blueprint())
    require_declared_permissions(app)
    app.before_request(routes.authorize_request)
    app.wsgi_app = DirectWrite(  # type: ignore[method-assign]
        app.wsgi_app,
        direct_routes(routes.ROUTES, lambda _, handler: partial(handler.store, services)),
        lambda _: COMMON_HEADERS,
        request_metrics_of(app),
    )
    return app


def http_application(app: Flask, settings: StoreServiceSettings) -> Application:
    """The application for the HTTP server: who may send which body, and which lane serves each path."""
    lane = lane_by_path(routes.ROUTES)

    def body_limit(path: str) -> int:
        return settings.main.max_batch_bytes if lane(path) is Lane.INGEST else settings.main.max_json_bytes

    return Application(
        app,
        lambda environ: routes.may_send_body(app, environ),
        body_limit,
        lane,
        is_open=not settings.main.jwt_public_key,
    )
