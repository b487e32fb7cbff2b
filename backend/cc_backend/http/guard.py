"""Authenticates each request and enforces the permission of its route.

* A token is read from `X-Auth-Token`, else from `Authorization: Bearer`; other schemes are ignored.
* A session is read from the cookie `session`, for routes that accept sessions only.
* A changing request with a session needs the session's CSRF token, as form field `csrf_token` or header
  `X-CSRF-Token`; a changing request to a public route (the login form) must come from our own pages.

Nothing is rendered here: errors are raised for the application's error handlers.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request
from flask import Request as FlaskRequest
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from cc_backend.auth import csrf
from cc_backend.auth.caller import Caller
from cc_backend.auth.client_address import NetworkSet, client_address, is_forwarded_https
from cc_backend.auth.permissions import Permission, permission_of, require_permission
from cc_backend.errors import BackendError, NotAllowed, NotAuthenticated, Unavailable
from cc_backend.http.presented_token import token_from_headers, token_missing
from cc_backend.httpserver.wsgi import CALLER_KEY, NEW_COOKIE_KEY
from cc_backend.services import Services, current_services
from cc_common.error_codes import ErrorCode
from cc_common.errors import CockpitError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from cc_backend.auth.sessions import Session  # brings the database, which the metric store's own program lacks

SESSION_COOKIE = "session"
BROWSER_COOKIE = "known_browser"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_FETCH_SITES = frozenset({"same-origin", "none"})  # Sec-Fetch-Site; "none" is a person typing an address
_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip")
_GUARD_EXTENSION = "cockpit-guard"


class RouteWithoutPermissionError(BackendError):
    """A route declares no permission, so the application does not start."""


def install_guard(app: Flask, services: Services) -> None:
    """Let every request of the application pass the guard.

    Raises:
        SettingsError: a network in the settings is invalid.
    """
    main = services.settings.main
    guard = _Guard(
        services,
        trusted_proxies=NetworkSet.parse("main.trusted-proxies", main.trusted_proxies),
        token_networks=_token_networks(main.api_allowed_ips),
    )
    app.extensions[_GUARD_EXTENSION] = guard
    app.before_request(guard.authorize_request)
    app.jinja_env.globals[CSRF_FIELD] = csrf_token


def require_declared_permissions(app: Flask) -> None:
    """Return if every route declares its permission.

    Raises:
        RouteWithoutPermissionError: naming each endpoint that does not.
    """
    missing = sorted(
        {
            f"{rule.endpoint} ({rule.rule})"
            for rule in app.url_map.iter_rules()
            if _permission_of_endpoint(app, rule.endpoint) is None
        }
    )
    if missing:
        raise RouteWithoutPermissionError(
            f"these routes declare no permission, mark them with @requires(Permission...): {', '.join(missing)}"
        )


def may_send_body(app: Flask, environ: "WSGIEnvironment") -> bool:
    """Whether the head of a request has credentials for its route; False for public routes.

    Raises:
        Unavailable: the database is not available.
    """
    with app.request_context(environ):
        try:
            _current_guard().authorize_request()
        except Unavailable:
            raise
        except (CockpitError, HTTPException):
            return False
        return optional_caller() is not None


def client_address_of(app: Flask, environ: "WSGIEnvironment") -> str:
    """The client address of a request; headers of proxies count only if the settings trust the proxy."""
    guard: _Guard = app.extensions[_GUARD_EXTENSION]
    return guard.remote_address(Request(environ, populate_request=False))


def authenticate_token_request(app: Flask, incoming: Request, permission: Permission) -> Caller:
    """The caller of a request with a token that grants a permission; needs no request context of the web framework.

    Raises:
        NotAuthenticated: there is no token, or it is not valid.
        NotAllowed: the token lacks the permission.
        Unavailable: the database is not available.
    """
    guard = cast("_Guard", app.extensions[_GUARD_EXTENSION])
    caller = guard.authenticate_token(token_from_headers(incoming), incoming)
    _record_caller(incoming, caller)
    require_permission(caller, permission)
    return caller


def current_caller() -> Caller:
    """The caller of the current request.

    Raises:
        NotAuthenticated: the route is public, so there is no caller.
    """
    caller = optional_caller()
    if caller is None:
        raise NotAuthenticated("please log in", code=ErrorCode.LOGIN_NEEDED)
    return caller


def optional_caller() -> Caller | None:
    """The caller of the current request; None on a public route."""
    caller: Caller | None = g.get("caller")
    return caller


def current_session() -> "Session | None":
    """The session of the current request, also on public routes; None without a valid one."""
    if "cockpit_session" not in g:
        services = current_services()
        cookie = request.cookies.get(SESSION_COOKIE, "")
        g.cockpit_session = services.sessions.lookup(cookie, services.clock()) if cookie else None
    found: Session | None = g.cockpit_session
    return found


def csrf_token() -> str:
    """The value that forms of the current page send as `csrf_token`: constant within a page, different for each page.

    Empty without a session.
    """
    session = current_session()
    if session is None:
        return ""
    if "cockpit_csrf" not in g:
        g.cockpit_csrf = csrf.mask_token(session.csrf_token)
    found: str = g.cockpit_csrf
    return found


def page_etag(html: str) -> str:
    """An entity tag for a page with forms, independent of the mask of the CSRF token."""
    shown: str = g.get("cockpit_csrf", "")
    content = html.replace(shown, "") if shown else html
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def remote_address() -> str:
    """The client address of the current request, as `client_address_of`."""
    return _current_guard().remote_address(request)


def is_local() -> bool:
    """Whether the current request came from this machine, and not through a proxy on it."""
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def is_https() -> bool:
    """Whether the client of the current request uses HTTPS, to this server or to a trusted proxy."""
    return is_https_request(current_app, request)


def is_https_request(app: Flask, incoming: Request) -> bool:
    """Whether the client of a request uses HTTPS, to this server or to a trusted proxy."""
    return cast("_Guard", app.extensions[_GUARD_EXTENSION]).is_https(incoming)


def start_session(response: Response, user: str) -> None:
    """Log in an account: create a session, end the previous one of the browser, and set the cookies.

    A second cookie, sent to the login form only, identifies the browser at its next login. The session cookie is set
    last, as simple scripts keep the last cookie only.
    """
    services = current_services()
    _end_session_of_request()
    response.set_cookie(
        BROWSER_COOKIE,
        services.known_browsers.remember(request.cookies.get(BROWSER_COOKIE, ""), user, services.clock()),
        max_age=services.known_browsers.max_age_s,
        path=request.root_path + request.path,  # sent to the login form only
        httponly=True,
        samesite="Strict",
        secure=is_https(),
    )
    cookie = services.sessions.create(user, services.clock())
    request.environ.update({CALLER_KEY: f"login {user}", NEW_COOKIE_KEY: cookie})
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=int(services.settings.main.session_max_age_s),
        httponly=True,
        samesite="Lax",
        secure=is_https(),
    )


def identify_browser(user: str) -> str:
    """An identifier of the browser of the request if it has logged in to this account before, otherwise empty."""
    services = current_services()
    return services.known_browsers.identify(request.cookies.get(BROWSER_COOKIE, ""), user, services.clock())


def end_session(response: Response) -> None:
    """Log out: end the session of the request and delete its cookie."""
    _end_session_of_request()
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=is_https())


class _Guard:
    def __init__(self, services: Services, *, trusted_proxies: NetworkSet, token_networks: NetworkSet | None) -> None:
        self._services = services
        self._trusted_proxies = trusted_proxies
        self._token_networks = token_networks

    def authorize_request(self) -> None:
        """Runs before each request; returns if the request may proceed."""
        if request.url_rule is None or _is_automatic_options(request):
            return  # 404, 405 and OPTIONS are public
        endpoint = request.endpoint or ""
        permission = _permission_of_endpoint(current_app, endpoint)
        if permission is None:
            raise RouteWithoutPermissionError(f"the route {endpoint} declares no permission")
        if permission is Permission.PUBLIC:
            if request.method not in SAFE_METHODS:
                _require_own_origin()
            return
        caller = self._authenticate(permission)
        _record_caller(request, caller)
        require_permission(caller, permission)
        g.caller = caller

    def remote_address(self, incoming: Request) -> str:
        return client_address(
            incoming.remote_addr or "",
            incoming.headers.getlist("X-Forwarded-For") or incoming.headers.getlist("X-Real-Ip"),
            self._trusted_proxies,
        )

    def is_https(self, incoming: Request) -> bool:
        if incoming.is_secure:
            return True
        forwarded_proto = incoming.environ.get("HTTP_X_FORWARDED_PROTO")
        return forwarded_proto is not None and is_forwarded_https(
            incoming.remote_addr or "", forwarded_proto, self._trusted_proxies
        )

    def _authenticate(self, permission: Permission) -> Caller:
        token = token_from_headers(request)
        if token is not None and permission.takes_tokens:
            return self.authenticate_token(token, request)
        session = current_session() if permission.takes_sessions else None
        if session is None:
            if permission.takes_sessions:
                raise NotAuthenticated("please log in", code=ErrorCode.LOGIN_NEEDED)
            return self.authenticate_token(None, request)
        if request.method not in SAFE_METHODS:
            _require_own_origin()
            _require_csrf_token(session)
        return session.caller

    def authenticate_token(self, token: str | None, incoming: Request) -> Caller:
        if token is None:
            raise token_missing()
        self._require_allowed_address(incoming)
        return self._services.tokens.verify(token, self._services.trusted_clock.now_s())

    def _require_allowed_address(self, incoming: Request) -> None:
        if self._token_networks is None:
            return
        address = self.remote_address(incoming)
        if address not in self._token_networks:
            text = f"tokens are not taken from the address {address} (main.api-allowed-ips)"
            raise NotAuthenticated(text, code=ErrorCode.ADDRESS_REFUSED)


def _end_session_of_request() -> None:
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie:
        current_services().sessions.end(cookie)


def _record_caller(incoming: Request, caller: Caller) -> None:
    """Record the caller of a request for the HTTP server, which shares its threads fairly among callers."""
    incoming.environ[CALLER_KEY] = f"{caller.kind} {caller.name}"


def _require_own_origin() -> None:
    """Reject requests that another site made the browser send; programs send none of these headers and pass."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site in _OWN_FETCH_SITES
    else:
        origin = request.headers.get("Origin") or request.headers.get("Referer")
        is_ours = origin is None or _host_of(origin) == request.host
    if not is_ours:
        text = "this request came from another site; open the page here and try again"
        raise NotAllowed(text, code=ErrorCode.FOREIGN_ORIGIN)


def _host_of(origin: str) -> str | None:
    """Host and port of a URL; None if it is invalid, such as `http://[`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _require_csrf_token(session: "Session") -> None:
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not csrf.matches_token(given, session.csrf_token):
        text = "the form is out of date or was sent by another site; reload the page and try again"
        raise NotAllowed(text, code=ErrorCode.FORM_EXPIRED)


def _permission_of_endpoint(app: Flask, endpoint: str) -> Permission | None:
    if endpoint == "static" or endpoint.endswith(".static"):
        return Permission.PUBLIC  # Flask's own view of the files beside the templates
    view = app.view_functions.get(endpoint)
    return None if view is None else permission_of(view)


def _is_automatic_options(incoming: FlaskRequest) -> bool:
    # Flask sets the attribute on Werkzeug's rule; it is False for a view that lists OPTIONS itself.
    return incoming.method == "OPTIONS" and bool(getattr(incoming.url_rule, "provide_automatic_options", False))


def _token_networks(allowed: Sequence[str]) -> NetworkSet | None:
    """The networks of main.api-allowed-ips; None if it allows every address: it is empty, or begins with `*`."""
    if not allowed or allowed[0] == "*":
        return None
    return NetworkSet.parse("main.api-allowed-ips", allowed)


def _current_guard() -> _Guard:
    return cast("_Guard", current_app.extensions[_GUARD_EXTENSION])
