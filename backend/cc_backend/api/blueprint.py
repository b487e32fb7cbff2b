"""All of the backend's API as one blueprint.

Apart from the package, whose parts the metric store's own program uses too: it needs neither jobs nor a database.
"""

from flask import Blueprint

from cc_backend.api import activity, errors, fallback, routes


def blueprint() -> Blueprint:
    """All routes of the API, its error answers and its counters, ready to be registered on an application."""
    api = Blueprint("api", __name__)
    errors.install(api)
    activity.install(api)
    routes.install(api)
    fallback.install(api)
    return api
