from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask, Response, make_response, render_template_string, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cc_backend.auth.known_browsers import KnownBrowsers
from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.sessions import Sessions
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import User, Users
from cc_backend.db.database import Database
from cc_backend.errors import BackendError, NotAuthenticated
from cc_backend.http import guard
from cc_backend.http.guard import (
    RouteWithoutPermissionError,
    current_caller,
    current_session,
    end_session,
    optional_caller,
    remote_address,
    require_declared_permissions,
    start_session,
)
from cc_backend.httpserver.wsgi import CALLER_KEY, NEW_COOKIE_KEY
from cc_backend.runtime.trusted_clock import TrustedClock
from cc_backend.services import EXTENSION, Services

NOW_S = 1_760_000_000
SERVICE = User("svc", frozenset({"api"}))
MakeApp = Callable[..., Flask]


def add_routes(app: Flask) -> None:
    @app.get("/public")
    @requires(Permission.PUBLIC)
    def public() -> str:
        caller, session = optional_caller(), current_session()
        return f"{caller} {'-' if session is None else session.user.name}"

    @app.get("/page")
    @requires(Permission.PAGE)
    def page() -> str:
        return render_template_string("{{ name }} {{ csrf_token() }}", name=current_caller().name)

    @app.post("/change")
    @requires(Permission.PAGE)
    def change() -> str:
        return current_caller().name

    @app.route("/login", methods=["GET", "POST"])
    @requires(Permission.PUBLIC)
    def login() -> Response:
        response = make_response("")
        if request.method == "POST":
            start_session(response, request.form["username"])
        return response

    @app.post("/logout")
    @requires(Permission.PAGE)
    def logout() -> Response:
        response = make_response("")
        end_session(response)
        return response

    @app.get("/api/jobs/")
    @requires(Permission.JOBS_READ)
    def jobs() -> str:
        return current_caller().name

    @app.post("/api/write/")
    @requires(Permission.METRICS_WRITE)
    def write() -> str:
        return f"{current_caller().name} {remote_address()}"

    def refused(error: BackendError) -> tuple[str, int]:
        return str(error), error.status

    app.register_error_handler(BackendError, refused)


@pytest.fixture
def make_app(database: Database, users: Users, tokens: Tokens, sessions: Sessions) -> MakeApp:
    def make(*, allowed: tuple[str, ...] = (), proxies: tuple[str, ...] = ()) -> Flask:
        main = SimpleNamespace(api_allowed_ips=allowed, trusted_proxies=proxies, session_max_age_s=7200.0)
        parts = SimpleNamespace(
            settings=SimpleNamespace(main=main),
            users=users,
            tokens=tokens,
            sessions=sessions,
            known_browsers=KnownBrowsers(database),
            clock=lambda: NOW_S,
            trusted_clock=TrustedClock(lambda: NOW_S, monotonic=lambda: NOW_S),
        )
        services = cast("Services", parts)
        app = Flask(__name__, static_folder=None)
        app.extensions[EXTENSION] = services
        guard.install_guard(app, services)
        add_routes(app)
        require_declared_permissions(app)
        return app

    return make


@pytest.fixture
def client(make_app: MakeApp, users: Users) -> FlaskClient:
    users.add("kmeyer", ["user"])
    return make_app().test_client()


@pytest.fixture
def token(tokens: Tokens, users: Users) -> str:
    users.add(SERVICE.name, SERVICE.roles)
    return tokens.issue(SERVICE, None, None, max_age_s=3600, now_s=NOW_S)


def log_in(client: FlaskClient, name: str = "kmeyer") -> str:
    """Logs in and returns the CSRF token that pages show."""
    assert client.post("/login", data={"username": name}).status_code == 200
    return client.get("/page").text.split()[1]


def cookie_of(response: TestResponse) -> str:
    """The cookie that counts for a client which keeps only the last one."""
    return response.headers.getlist("Set-Cookie")[-1]


def test_a_public_route_asks_for_nobody(client: FlaskClient) -> None:
    assert client.get("/public").text == "None -"


def test_a_public_route_knows_who_is_logged_in(client: FlaskClient) -> None:
    log_in(client)
    assert client.get("/public").text == "None kmeyer"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Auth-Token": "{token}"},
        {"x-auth-token": "{token}"},
        {"Authorization": "Bearer {token}"},
        {"Authorization": "bearer  {token} "},
        {"X-Auth-Token": "{token}", "Authorization": "Bearer wrong"},
        {"X-Auth-Token": "{token}", "Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
def test_a_token_comes_in_either_header_and_its_own_header_wins(
    client: FlaskClient, token: str, headers: dict[str, str]
) -> None:
    answer = client.get("/api/jobs/", headers={name: value.format(token=token) for name, value in headers.items()})
    assert (answer.status_code, answer.text) == (200, "svc")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Auth-Token": ""},
        {"X-Auth-Token": "wrong", "Authorization": "Bearer {token}"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "{token}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"X-Auth-Token": "{token}x"},
        {"Cookie": "session={token}"},
    ],
)
def test_without_a_good_token_a_route_of_programs_is_closed(
    client: FlaskClient, token: str, headers: dict[str, str]
) -> None:
    answer = client.get("/api/jobs/", headers={name: value.format(token=token) for name, value in headers.items()})
    assert answer.status_code == 401


def test_a_session_does_not_open_a_route_of_programs(client: FlaskClient, users: Users) -> None:
    users.add("root1", ["admin", "api"])
    log_in(client, "root1")
    assert client.get("/api/jobs/").status_code == 401
    assert client.post("/api/write/").status_code == 401


def test_a_proxys_own_authorization_does_not_disturb_pages(client: FlaskClient) -> None:
    log_in(client)
    assert client.get("/page", headers={"Authorization": "Basic dXNlcjpwYXNz"}).status_code == 200


def test_a_token_opens_pages_too(client: FlaskClient, token: str) -> None:
    assert client.get("/page", headers={"X-Auth-Token": token}).text.split() == ["svc"]


def test_a_bad_token_on_a_page_is_refused_even_with_a_session(client: FlaskClient) -> None:
    log_in(client)
    assert client.get("/page", headers={"X-Auth-Token": "wrong"}).status_code == 401


def test_a_page_without_login_is_closed(client: FlaskClient) -> None:
    assert client.get("/page").status_code == 401
    assert client.get("/page", headers={"Cookie": "session=made-up"}).status_code == 401


def test_an_expired_or_revoked_token_is_refused(client: FlaskClient, tokens: Tokens, token: str) -> None:
    expired = tokens.issue(SERVICE, None, None, max_age_s=10, now_s=NOW_S - 10)
    assert client.get("/api/jobs/", headers={"X-Auth-Token": expired}).status_code == 401
    tokens.revoke(next(record.jti for record in tokens.list() if record.expires_s == NOW_S + 3600), now_s=NOW_S)
    assert client.get("/api/jobs/", headers={"X-Auth-Token": token}).status_code == 401


def test_a_token_without_the_scope_is_refused(client: FlaskClient, tokens: Tokens, users: Users) -> None:
    users.add(SERVICE.name, SERVICE.roles)
    write_only = tokens.issue(SERVICE, None, ["write"], max_age_s=3600, now_s=NOW_S)
    assert client.get("/api/jobs/", headers={"X-Auth-Token": write_only}).status_code == 403
    assert client.post("/api/write/", headers={"X-Auth-Token": write_only}).status_code == 200


def test_the_server_is_told_who_comes_with_the_cookie_from_now_on(client: FlaskClient) -> None:
    environs: list[Any] = []
    inner = client.application.wsgi_app

    def server(environ: Any, start_response: Any) -> Any:
        environs.append(environ)
        return inner(environ, start_response)

    client.application.wsgi_app = server  # type: ignore[method-assign]
    answer = client.post("/login", data={"username": "kmeyer"})
    assert cookie_of(answer).startswith(f"session={environs[0][NEW_COOKIE_KEY]};")
    assert environs[0][CALLER_KEY] == "login kmeyer"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: FlaskClient) -> None:
    cookie = cookie_of(client.post("/login", data={"username": "kmeyer"}))
    assert cookie.startswith("session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=7200" in cookie
    assert "Secure" not in cookie


def test_over_https_the_cookie_never_travels_in_the_clear(client: FlaskClient) -> None:
    answer = client.post("/login", data={"username": "kmeyer"}, base_url="https://localhost")
    assert "Secure" in cookie_of(answer)


@pytest.mark.parametrize(("proxies", "secure"), [(("127.0.0.1",), True), ((), False), (("192.0.2.0/24",), False)])
def test_only_a_trusted_proxy_may_say_that_it_was_https(
    make_app: MakeApp, users: Users, proxies: tuple[str, ...], *, secure: bool
) -> None:
    users.add("kmeyer", ["user"])
    client = make_app(proxies=proxies).test_client()
    answer = client.post("/login", data={"username": "kmeyer"}, headers={"X-Forwarded-Proto": "https"})
    assert ("Secure" in cookie_of(answer)) is secure


def test_a_new_login_ends_the_one_before(client: FlaskClient, sessions: Sessions) -> None:
    log_in(client)
    old = client.get_cookie("session")
    log_in(client)
    assert old is not None
    assert sessions.lookup(old.value, NOW_S) is None


def test_after_logging_out_the_cookie_is_worthless_wherever_it_was_copied_to(
    client: FlaskClient, make_app: MakeApp
) -> None:
    csrf = log_in(client)
    stolen = client.get_cookie("session")
    assert stolen is not None
    answer = client.post("/logout", data={"csrf_token": csrf})
    assert "session=;" in cookie_of(answer)
    thief = make_app().test_client()
    assert thief.get("/page", headers={"Cookie": f"session={stolen.value}"}).status_code == 401


def test_a_removed_account_is_logged_out(client: FlaskClient, users: Users) -> None:
    log_in(client)
    users.remove("kmeyer", now_s=NOW_S)
    assert client.get("/page").status_code == 401


def test_an_account_without_role_is_told_so(client: FlaskClient, users: Users) -> None:
    log_in(client)
    users.remove_role("kmeyer", "user")
    answer = client.get("/page")
    assert answer.status_code == 403
    assert "no role" in answer.text


@pytest.mark.parametrize("where", ["form", "header"])
def test_a_change_with_the_csrf_token_goes_through(client: FlaskClient, where: str) -> None:
    csrf = log_in(client)
    sent: dict[str, Any] = {"data": {"csrf_token": csrf}} if where == "form" else {"headers": {"X-CSRF-Token": csrf}}
    assert client.post("/change", **sent).text == "kmeyer"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"data": {"csrf_token": ""}},
        {"data": {"csrf_token": "0" * 64}},
        {"data": {"csrf_token": "ünïcode"}},
        {"headers": {"X-CSRF-Token": "wrong"}},
        {"query_string": {"csrf_token": "{csrf}"}},
        {"data": {"csrf_token": "{csrf}"}, "headers": {"Sec-Fetch-Site": "cross-site"}},
        {"data": {"csrf_token": "{csrf}"}, "headers": {"Sec-Fetch-Site": "same-site"}},
        {"data": {"csrf_token": "{csrf}"}, "headers": {"Origin": "https://evil.example"}},
        {"data": {"csrf_token": "{csrf}"}, "headers": {"Origin": "null"}},
        {"data": {"csrf_token": "{csrf}"}, "headers": {"Referer": "http://localhost.evil.example/"}},
    ],
)
def test_a_change_that_another_site_could_have_sent_is_refused(client: FlaskClient, sent: dict[str, Any]) -> None:
    csrf = log_in(client)
    filled = {
        part: {name: value.replace("{csrf}", csrf) for name, value in values.items()} for part, values in sent.items()
    }
    assert client.post("/change", **filled).status_code == 403


def test_the_csrf_token_of_somebody_else_is_refused(client: FlaskClient, make_app: MakeApp, users: Users) -> None:
    users.add("other", ["user"])
    foreign = log_in(make_app().test_client(), "other")
    log_in(client)
    assert client.post("/change", data={"csrf_token": foreign}).status_code == 403


def test_a_change_by_token_needs_no_csrf_token(client: FlaskClient, token: str) -> None:
    assert client.post("/change", headers={"X-Auth-Token": token}).text == "svc"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Referer": "http://localhost/login"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Referer": "http://[x/login"}, 403),
    ],
)
def test_nobody_is_logged_in_by_another_site(client: FlaskClient, headers: dict[str, str], status: int) -> None:
    answer = client.post("/login", data={"username": "kmeyer"}, headers=headers)
    assert answer.status_code == status
    assert ("Set-Cookie" in answer.headers) is (status == 200)


def test_unknown_paths_wrong_methods_and_options_are_answered_to_everybody(client: FlaskClient) -> None:
    assert client.get("/api/nothing").status_code == 404
    assert client.get("/api/write/").status_code == 405
    assert client.options("/api/jobs/").status_code == 200


@pytest.mark.parametrize(
    ("allowed", "status"),
    [((), 200), (("*",), 200), (("127.0.0.1",), 200), (("127.0.0.0/8", "::1"), 200), (("192.0.2.0/24",), 401)],
)
def test_tokens_count_only_from_allowed_addresses(
    make_app: MakeApp, token: str, allowed: tuple[str, ...], status: int
) -> None:
    client = make_app(allowed=allowed).test_client()
    assert client.get("/api/jobs/", headers={"X-Auth-Token": token}).status_code == status


def test_an_allowed_address_cannot_be_made_up(make_app: MakeApp, token: str) -> None:
    client = make_app(allowed=("192.0.2.7",)).test_client()
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded"):
        answer = client.get("/api/jobs/", headers={"X-Auth-Token": token, header: "192.0.2.7"})
        assert answer.status_code == 401


def test_behind_a_trusted_proxy_the_clients_address_counts(make_app: MakeApp, token: str) -> None:
    client = make_app(allowed=("192.0.2.7",), proxies=("127.0.0.1",)).test_client()
    answer = client.post("/api/write/", headers={"X-Auth-Token": token, "X-Forwarded-For": "1.1.1.1, 192.0.2.7"})
    assert answer.text == "svc 192.0.2.7"


def test_a_trusted_proxy_may_say_it_by_x_real_ip_alone(make_app: MakeApp, token: str) -> None:
    client = make_app(allowed=("192.0.2.7",), proxies=("127.0.0.1",)).test_client()
    headers = {"X-Auth-Token": token, "X-Real-Ip": "192.0.2.7"}
    assert client.post("/api/write/", headers=headers).text == "svc 192.0.2.7"
    both = client.post("/api/write/", headers={**headers, "X-Forwarded-For": "203.0.113.1"})
    assert both.status_code == 401


def test_a_disabled_account_is_logged_out_and_stays_out(client: FlaskClient, users: Users) -> None:
    log_in(client)
    users.disable("kmeyer", now_s=NOW_S)
    assert client.get("/page").status_code == 401


def test_the_cookie_of_a_known_browser_goes_to_the_login_form_alone_and_logs_nobody_in(
    client: FlaskClient, make_app: MakeApp
) -> None:
    answer = client.post("/login", data={"username": "kmeyer"})
    (cookie,) = (line for line in answer.headers.getlist("Set-Cookie") if line.startswith("known_browser="))
    assert {"HttpOnly", "Path=/login", "SameSite=Strict"} <= set(cookie.split("; "))
    other = make_app().test_client()
    assert other.get("/page", headers={"Cookie": cookie.split(";")[0]}).status_code == 401


def test_an_application_with_an_undeclared_route_does_not_start() -> None:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/forgotten", "forgotten", lambda: "")
    with pytest.raises(RouteWithoutPermissionError, match=r"forgotten \(/forgotten\)"):
        require_declared_permissions(app)


def test_an_undeclared_route_that_was_added_later_answers_nobody(make_app: MakeApp) -> None:
    app = make_app()
    app.add_url_rule("/late", "late", lambda: "secret")
    answer = app.test_client().get("/late")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_public_view_that_asks_for_its_caller_gets_an_error(make_app: MakeApp) -> None:
    with make_app().test_request_context("/public"), pytest.raises(NotAuthenticated):
        current_caller()
