"""The whole API of the backend as one blueprint."""

from typing import cast

from flask import Blueprint, Flask
from flask.blueprints import BlueprintSetupState

from cc_backend.api import documentation
from cc_backend.api.routes import ROUTES
from cc_backend.http import fallback, problems
from cc_backend.http.routing import install_routes
from cc_backend.telemetry import request_metrics


def blueprint() -> Blueprint:
    """A blueprint with all routes of the API, its error handlers and counters."""
    api = Blueprint("api", __name__)
    problems.install_error_handlers(api)
    request_metrics.install_request_metrics(api)
    install_routes(api, ROUTES, has_fallback=True)
    fallback.install_fallback(api)
    api.record_once(_describe_routes)
    return api


def _describe_routes(state: BlueprintSetupState) -> None:
    documentation.describe_routes(cast("Flask", state.app), ROUTES)
