"""The blueprint of the pages: routes, template context, error pages."""

import time
from collections.abc import Callable
from typing import Any, cast

from flask import Blueprint, Flask, request, url_for
from flask.blueprints import BlueprintSetupState

from cc_backend.http.guard import current_session, optional_caller
from cc_backend.model import Level
from cc_backend.services import current_services
from cc_backend.web import assets, error_pages
from cc_backend.web.previews import PreviewCache
from cc_backend.web.time_axis import zone_offsets
from cc_backend.web.views import job_list_view, job_view, login, old_addresses, start, theme
from cc_backend.wording.format import format_number, join_with_and, keep_units_together, zone_name
from cc_backend.wording.labels import breakable_name
from cc_common import __version__

EXTENSION = "cockpit-web"
NAVIGATION = (("Start", "web.start"), ("Jobs", "web.jobs"))
_SECTIONS = {"start": "Start", "jobs": "Jobs", "job": "Jobs", "series": "Jobs"}


def make_blueprint() -> Blueprint:
    """All pages, ready to be registered on the application."""
    pages = Blueprint("web", __name__, template_folder="templates")
    add: Callable[..., None] = pages.add_url_rule
    add("/", "start", start.show_start)
    add("/login", "login", login.login, methods=["GET", "POST"])
    add("/logout", "logout", login.logout, methods=["POST"])
    add("/theme", "choose_theme", theme.choose_theme, methods=["POST"])
    add("/monitoring/jobs/", "jobs", job_list_view.show_jobs)
    add("/monitoring/user/<name>", "person", old_addresses.redirect_person)
    add("/search", "search", old_addresses.redirect_search)
    add("/monitoring/job/<int:job_id>", "job", job_view.show_job)
    add("/monitoring/jobs/export", "export_jobs", job_list_view.export_jobs)
    add("/monitoring/job/<int:job_id>/export", "export_job", job_view.export_job)
    add("/monitoring/job/<int:job_id>/data", "job_data", job_view.send_plots)
    add("/monitoring/job/<int:job_id>/series/<metric>", "series", job_view.show_series)
    add("/assets/<version>/<path:name>", "asset", assets.serve_asset)
    pages.app_context_processor(template_context)  # also for the error pages of addresses without a route
    pages.record_once(_prepare)
    error_pages.register_error_pages(pages)
    return pages


def _prepare(state: BlueprintSetupState) -> None:
    app = cast("Flask", state.app)
    app.extensions[EXTENSION] = PreviewCache()
    app.jinja_env.filters["breakable"] = breakable_name
    app.jinja_env.filters["unbroken"] = keep_units_together
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def template_context() -> dict[str, Any]:
    """The variables of every template."""
    session = current_session()
    here = (request.endpoint or "").rpartition(".")[2]
    return {
        "asset": asset_url,
        "number": format_number,
        "caution": Level.CAUTION,
        "nav": NAVIGATION if session else (),
        "here": _SECTIONS.get(here, ""),
        "here_address": request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else "/",
        "person": None if session is None else _person(session.user.name, session.user.full_name),
        "theme": theme.chosen_theme(),
        "themes": theme.THEMES,
        "version": __version__,
        "zone_name": zone_name(None, time.time()),
        "zone_offset": zone_offsets(time.time(), 0, None)[0][1],
        "url_job": lambda job_id: url_for("web.job", job_id=job_id),
        "url_jobs": lambda **parameters: url_for("web.jobs", **parameters),
        "cluster_words": _cluster_words(),
    }


def asset_url(name: str) -> str:
    """The address of a static file."""
    return url_for("web.asset", version=assets.asset_digest(), name=name)


def _person(name: str, full_name: str) -> dict[str, str]:
    words = (full_name or name).split()
    initials = "".join(word[0] for word in (words[0], words[-1])) if len(words) > 1 else (full_name or name)[:2]
    return {"name": full_name or name, "initials": initials.upper()}


def _cluster_words() -> str:
    caller = optional_caller()
    names = sorted(
        name for name in current_services().clusters.names() if caller is None or caller.may_use_cluster(name)
    )
    if len(names) > 3:  # noqa: PLR2004 - a sentence, not a list
        return f"{len(names)} clusters"
    return join_with_and(names)
