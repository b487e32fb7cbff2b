"""Addresses of ClusterCockpit 1.5 that lead to the job list here."""

from urllib.parse import urlencode

from flask import Response, make_response, redirect, request, url_for

from cc_backend.auth.permissions import Permission, requires


@requires(Permission.PAGE)
def redirect_search() -> Response:
    """A redirect of `/search?searchId=` to the list with that text in its search field."""
    return make_response(redirect(url_for("web.jobs", q=request.args.get("searchId", "") or None), code=303))


@requires(Permission.PAGE)
def redirect_person(name: str) -> Response:
    """A redirect of the page of a person to the list of the person's jobs, with the filters of the address."""
    others = [(key, value) for key, value in request.args.items(multi=True) if key not in ("user", "userMatch")]
    filters = urlencode([*others, ("user", name), ("userMatch", "eq")])
    return make_response(redirect(f"{url_for('web.jobs')}?{filters}", code=303))
