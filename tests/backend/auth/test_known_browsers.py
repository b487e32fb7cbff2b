import pytest

from cc_backend.auth.known_browsers import MAX_BROWSERS, KnownBrowsers
from cc_backend.auth.users import Users
from cc_backend.db.database import Database

NOW_S = 1_760_000_000
YEAR_S = 365 * 86400


@pytest.fixture
def browsers(database: Database, users: Users) -> KnownBrowsers:
    users.add("kmeyer", ["user"], password="correct horse")
    users.add("other", ["user"])
    return KnownBrowsers(database)


def test_a_browser_is_known_after_a_login_for_this_account_alone(browsers: KnownBrowsers) -> None:
    cookie = browsers.remember("", "kmeyer", NOW_S)
    assert browsers.identify(cookie, "kmeyer", NOW_S + 60)
    assert not browsers.identify(cookie, "other", NOW_S + 60)


def test_another_login_keeps_the_cookie_and_makes_it_last(browsers: KnownBrowsers) -> None:
    cookie = browsers.remember("", "kmeyer", NOW_S)
    assert browsers.remember(cookie, "kmeyer", NOW_S + YEAR_S - 1) == cookie
    assert browsers.identify(cookie, "kmeyer", NOW_S + YEAR_S + 1)
    assert not browsers.identify(cookie, "kmeyer", NOW_S + 2 * YEAR_S)


def test_another_account_on_the_same_browser_gets_a_cookie_of_its_own(browsers: KnownBrowsers) -> None:
    cookie = browsers.remember("", "kmeyer", NOW_S)
    assert browsers.remember(cookie, "other", NOW_S) != cookie


@pytest.mark.parametrize("cookie", ["", "made-up", "ü" * 10, "x" * 10_000, "' OR '1'='1", "\0"])
def test_a_cookie_that_nobody_gave_is_no_known_browser(browsers: KnownBrowsers, cookie: str) -> None:
    browsers.remember("", "kmeyer", NOW_S)
    assert browsers.identify(cookie, "kmeyer", NOW_S) == ""


def test_the_database_does_not_hold_the_cookie(browsers: KnownBrowsers, database: Database) -> None:
    cookie = browsers.remember("", "kmeyer", NOW_S)
    row = database.first_row("SELECT * FROM known_browser")
    assert row is not None
    assert cookie not in map(str, row)
    assert not browsers.identify(str(row[0]), "kmeyer", NOW_S)


def test_an_account_has_a_bounded_number_of_browsers_the_oldest_is_forgotten(
    browsers: KnownBrowsers, database: Database
) -> None:
    others = browsers.remember("", "other", NOW_S)
    cookies = [browsers.remember("", "kmeyer", NOW_S + number) for number in range(MAX_BROWSERS + 5)]
    known = [bool(browsers.identify(cookie, "kmeyer", NOW_S + 100)) for cookie in cookies]
    assert known == [False] * 5 + [True] * MAX_BROWSERS
    assert browsers.identify(others, "other", NOW_S)


@pytest.mark.parametrize("change", ["password", "disable", "remove"])
def test_browsers_are_forgotten_when_the_account_is_closed_or_gets_a_new_password(
    browsers: KnownBrowsers, users: Users, change: str
) -> None:
    cookie = browsers.remember("", "kmeyer", NOW_S)
    if change == "password":
        users.set_password("kmeyer", "battery staple")
    elif change == "disable":
        users.disable("kmeyer", now_s=NOW_S)
    else:
        users.remove("kmeyer", now_s=NOW_S)
    assert not browsers.identify(cookie, "kmeyer", NOW_S)
