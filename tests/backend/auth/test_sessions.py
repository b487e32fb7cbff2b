import pytest

from cc_backend.auth.sessions import Sessions
from cc_backend.auth.users import Users
from cc_backend.db.database import Database
from cc_backend.errors import NotFound

NOW_S = 1_760_000_000


@pytest.fixture(autouse=True)
def kmeyer(users: Users) -> None:
    users.add("kmeyer", ["user"])


def test_a_cookie_stands_for_its_account(sessions: Sessions) -> None:
    session = sessions.lookup(sessions.create("kmeyer", NOW_S), NOW_S)
    assert session is not None
    assert (session.caller.name, session.caller.roles, session.caller.kind) == ("kmeyer", {"user"}, "session")


def test_every_login_has_its_own_secret_and_csrf_token(sessions: Sessions) -> None:
    cookies = [sessions.create("kmeyer", NOW_S) for _ in range(2)]
    tokens = {session.csrf_token for cookie in cookies if (session := sessions.lookup(cookie, NOW_S))}
    assert len(set(cookies)) == len(tokens) == 2
    assert not tokens & set(cookies)


def test_the_database_does_not_hold_the_cookie_or_the_csrf_token(sessions: Sessions, database: Database) -> None:
    cookie = sessions.create("kmeyer", NOW_S)
    session = sessions.lookup(cookie, NOW_S)
    row = database.first_row("SELECT * FROM session")
    assert row is not None
    assert session is not None
    assert cookie not in row
    assert session.csrf_token not in row


@pytest.mark.parametrize("cookie", ["", "x", "x" * 200, "ünïcode", "' OR 1=1 --", "\ud800", "%"])
def test_what_is_no_cookie_of_ours_stands_for_nobody(sessions: Sessions, cookie: str) -> None:
    sessions.create("kmeyer", NOW_S)
    assert sessions.lookup(cookie, NOW_S) is None


def test_a_login_ends_when_it_is_unused(sessions: Sessions) -> None:
    cookie = sessions.create("kmeyer", NOW_S)
    assert sessions.lookup(cookie, NOW_S + 3599) is not None
    assert sessions.lookup(cookie, NOW_S + 3599 + 3600) is None


def test_use_keeps_a_login_alive_up_to_its_greatest_age(sessions: Sessions) -> None:
    cookie = sessions.create("kmeyer", NOW_S)
    for after_s in (3000, 6000, 7199):
        assert sessions.lookup(cookie, NOW_S + after_s) is not None
    assert sessions.lookup(cookie, NOW_S + 7200) is None


def test_roles_count_as_they_are_now(sessions: Sessions, users: Users) -> None:
    cookie = sessions.create("kmeyer", NOW_S)
    users.add_role("kmeyer", "support")
    session = sessions.lookup(cookie, NOW_S)
    assert session is not None
    assert session.caller.roles == {"user", "support"}


def test_a_login_that_was_ended_is_over(sessions: Sessions) -> None:
    cookie, other = sessions.create("kmeyer", NOW_S), sessions.create("kmeyer", NOW_S)
    sessions.end(cookie)
    assert sessions.lookup(cookie, NOW_S) is None
    assert sessions.lookup(other, NOW_S) is not None


def test_all_logins_of_an_account_can_be_ended(sessions: Sessions) -> None:
    cookies = [sessions.create("kmeyer", NOW_S) for _ in range(3)]
    assert sessions.end_all("kmeyer") == 3
    assert [sessions.lookup(cookie, NOW_S) for cookie in cookies] == [None] * 3


def test_nobody_logs_in_without_an_account(sessions: Sessions) -> None:
    with pytest.raises(NotFound):
        sessions.create("nobody", NOW_S)


def test_rows_of_past_logins_are_removed(sessions: Sessions) -> None:
    sessions.create("kmeyer", NOW_S)
    living = sessions.create("kmeyer", NOW_S + 3000)
    assert sessions.purge(NOW_S + 3600) == 1
    assert sessions.lookup(living, NOW_S + 3600) is not None
