"""All of the backend's API as one blueprint.

Apart from the package, whose parts the metric store's own program uses too: it needs neither jobs nor a database.
"""

from flask import Blueprint

from cc_backend.api import routes
from cc_backend.http import fallback, problems
from cc_backend.telemetry import request_metrics


def blueprint() -> Blueprint:
    """All routes of the API, its error answers and its counters, ready to be registered on an application."""
    api = Blueprint("api", __name__)
    problems.install_error_handlers(api)
    request_metrics.install_request_metrics(api)
    routes.install_routes(api)
    fallback.install_fallback(api)
    return api
