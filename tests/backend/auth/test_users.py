import logging

import argon2
import pytest

from cc_backend.auth.login_throttle import ACCOUNT_AT_ADDRESS, BucketLimit, LoginThrottle
from cc_backend.auth.sessions import Sessions
from cc_backend.auth.users import LOGIN_FAILED, Users, validate_name
from cc_backend.db.database import Database
from cc_backend.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, TooManyRequests

NOW_S = 1_760_000_000
PASSWORD = "correct horse"


def test_a_new_account_is_there_with_all_it_was_given(users: Users) -> None:
    added = users.add(
        "kmeyer", ["manager", "user"], projects=["b", "a"], full_name="Karla Meyer", email="k@example.org"
    )
    assert users.get("kmeyer") == added
    assert added.projects == ("a", "b")
    assert users.list() == [added]


@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            " ",
            "two words",
            "a/b",
            "a:b",
            "a,b",
            "tab\t",
            "nul\0",
            "line\n",
            "zero\u200bwidth",
            "\u00a0",
            "x" * 101,
        ],
        *["global", "admin", "Admin", "private", "anonymous", ".", "..", "half\ud800"],
    ],
)
def test_names_that_would_mean_something_else_are_refused(users: Users, name: str) -> None:
    with pytest.raises(InvalidInput):
        users.add(name, ["user"])


@pytest.mark.parametrize("name", ["a", "kmeyer", "k.meyer@physik", "müller", "x" * 100, "svc-slurm_a", "007"])
def test_ordinary_names_are_taken(name: str) -> None:
    validate_name(name)


@pytest.mark.parametrize(
    ("roles", "projects"),
    [
        (["root"], []),
        (["anonymous"], []),
        (["Admin"], []),
        (["user"], ["a"]),
        (["manager"], [""]),
        (["manager"], ["a\n"]),
    ],
)
def test_roles_and_projects_are_checked(users: Users, roles: list[str], projects: list[str]) -> None:
    with pytest.raises(InvalidInput):
        users.add("kmeyer", roles, projects=projects)


def test_a_name_is_taken_once(users: Users) -> None:
    users.add("kmeyer", ["user"])
    with pytest.raises(Conflict):
        users.add("kmeyer", ["admin"])


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "half \ud800 pair"])
def test_a_password_has_bounds(users: Users, password: str) -> None:
    with pytest.raises(InvalidInput, match="password"):
        users.add("kmeyer", ["user"], password=password)
    assert users.find("kmeyer") is None


def test_the_right_password_gives_the_account(users: Users) -> None:
    added = users.add("kmeyer", ["user"], password=PASSWORD)
    assert users.verify_password("kmeyer", PASSWORD, NOW_S) == added


def test_passwords_are_kept_as_argon2id(database: Database, users: Users) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    row = database.first_row('SELECT password FROM "user"')
    assert row is not None
    assert row[0].startswith("$argon2id$")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("kmeyer", "wrong horse"),
        ("kmeyer", ""),
        ("kmeyer", PASSWORD + "\0"),
        ("KMEYER", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
        ("svc", ""),
        ("svc", PASSWORD),
        ("kmeyer' --", PASSWORD),
        ("%", PASSWORD),
        ("kmeyer", "\ud800"),
    ],
)
def test_a_wrong_login_always_gets_the_same_answer(users: Users, name: str, password: str) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    users.add("svc", ["api"])
    with pytest.raises(NotAuthenticated) as refused:
        users.verify_password(name, password, NOW_S)
    assert str(refused.value) == LOGIN_FAILED


class CountingHasher(argon2.PasswordHasher):
    """Remembers which hashes were checked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.checked: list[str | bytes] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - as the base class names it
        self.checked.append(hash)
        return super().verify(hash, password)


@pytest.mark.parametrize("name", ["kmeyer", "nobody", "svc", "closed"])
def test_unknown_names_and_accounts_without_password_cost_a_hash_too(database: Database, name: str) -> None:
    hasher = CountingHasher()
    users = Users(database, hasher=hasher)
    users.add("kmeyer", ["user"], password=PASSWORD)
    users.add("svc", ["api"])
    users.add("closed", ["user"], password=PASSWORD)
    users.disable("closed", now_s=NOW_S)
    with pytest.raises(NotAuthenticated):
        users.verify_password(name, "wrong horse", NOW_S)
    assert len(hasher.checked) == 1
    own = argon2.extract_parameters(str(hasher.checked[0]))
    assert own == argon2.extract_parameters(hasher.hash("any"))


def test_an_account_for_programs_does_not_log_in_even_with_a_password(users: Users) -> None:
    users.add("svc", ["api"], password=PASSWORD)
    with pytest.raises(NotAuthenticated, match="programs"):
        users.verify_password("svc", PASSWORD, NOW_S)


def test_too_many_wrong_passwords_close_the_account_for_their_address_for_a_while(
    database: Database, hasher: argon2.PasswordHasher
) -> None:
    users = Users(database, hasher=hasher, throttle=LoginThrottle({ACCOUNT_AT_ADDRESS: BucketLimit(2, 60)}))
    users.add("kmeyer", ["user"], password=PASSWORD)
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            users.verify_password("kmeyer", "wrong horse", NOW_S, address="192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        users.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1")
    assert refused.value.retry_after_s == 60
    assert users.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.2").name == "kmeyer"
    assert users.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1", browser="mine").name == "kmeyer"
    assert users.verify_password("kmeyer", PASSWORD, NOW_S + 60, address="192.0.2.1").name == "kmeyer"


def test_right_passwords_are_never_too_many(users: Users) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    for _ in range(30):
        users.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1")


def test_a_hash_of_older_settings_is_renewed_at_login(database: Database, users: Users) -> None:
    Users(database, hasher=argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)).add(
        "kmeyer", ["user"], password=PASSWORD
    )
    before = database.first_row('SELECT password FROM "user"')
    users.verify_password("kmeyer", PASSWORD, NOW_S)
    assert database.first_row('SELECT password FROM "user"') != before
    users.verify_password("kmeyer", PASSWORD, NOW_S)


def test_a_hash_of_another_kind_fits_no_password(database: Database, users: Users) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    with database.write():
        database.run_sql('UPDATE "user" SET password = ?', f"$2a$10${'5f' * 20}")
    with pytest.raises(NotAuthenticated, match=LOGIN_FAILED):
        users.verify_password("kmeyer", PASSWORD, NOW_S)


def test_a_failed_login_is_logged_with_name_and_address_but_without_password(
    users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(NotAuthenticated):
        users.verify_password("evil\nname", "my secret word", NOW_S, address="192.0.2.1")
    assert "192.0.2.1" in caplog.text
    assert r"evil\nname" in caplog.text
    assert "my secret word" not in caplog.text


def test_a_new_password_replaces_the_old_one_and_ends_all_logins(users: Users, sessions: Sessions) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    cookie = sessions.create("kmeyer", NOW_S)
    users.set_password("kmeyer", "battery staple")
    assert sessions.lookup(cookie, NOW_S) is None
    assert users.verify_password("kmeyer", "battery staple", NOW_S).name == "kmeyer"
    with pytest.raises(NotAuthenticated):
        users.verify_password("kmeyer", PASSWORD, NOW_S)


def test_a_removed_account_is_gone_and_its_logins_with_it(users: Users, sessions: Sessions) -> None:
    users.add("kmeyer", ["user"])
    cookie = sessions.create("kmeyer", NOW_S)
    users.remove("kmeyer", now_s=NOW_S)
    assert users.find("kmeyer") is None
    assert sessions.lookup(cookie, NOW_S) is None


def test_nobody_logs_in_to_a_disabled_account(users: Users, sessions: Sessions) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    cookie = sessions.create("kmeyer", NOW_S)
    assert users.disable("kmeyer", now_s=NOW_S).disabled
    assert sessions.lookup(cookie, NOW_S) is None
    with pytest.raises(NotAuthenticated, match=LOGIN_FAILED):
        users.verify_password("kmeyer", PASSWORD, NOW_S)
    with pytest.raises(Conflict, match="already"):
        users.disable("kmeyer", now_s=NOW_S)
    assert not users.enable("kmeyer").disabled
    assert sessions.lookup(cookie, NOW_S) is None
    assert users.verify_password("kmeyer", PASSWORD, NOW_S).name == "kmeyer"
    with pytest.raises(Conflict, match="not disabled"):
        users.enable("kmeyer")


def test_a_login_that_began_before_the_account_was_disabled_ends(users: Users, database: Database) -> None:
    users.add("kmeyer", ["user"], password=PASSWORD)
    sessions = Sessions(database)
    users.disable("kmeyer", now_s=NOW_S)
    cookie = sessions.create("kmeyer", NOW_S)
    assert sessions.lookup(cookie, NOW_S) is None


def test_a_disabled_administrator_is_none(users: Users) -> None:
    users.add("root1", ["admin"])
    users.add("root2", ["admin"])
    users.disable("root2", now_s=NOW_S)
    for change in (
        lambda: users.disable("root1", now_s=NOW_S),
        lambda: users.remove("root1", now_s=NOW_S),
        lambda: users.remove_role("root1", "admin"),
    ):
        with pytest.raises(Conflict, match="last administrator"):
            change()
    users.remove("root2", now_s=NOW_S)


def test_the_last_administrator_stays(users: Users) -> None:
    users.add("root1", ["admin"])
    with pytest.raises(Conflict, match="last administrator"):
        users.remove("root1", now_s=NOW_S)
    with pytest.raises(Conflict, match="last administrator"):
        users.remove_role("root1", "admin")
    users.add("root2", ["admin"])
    users.remove("root1", now_s=NOW_S)


def test_roles_and_projects_change_by_the_rules(users: Users) -> None:
    users.add("kmeyer", ["user"])
    assert users.add_role("kmeyer", "Manager").roles == {"user", "manager"}
    assert users.add_project("kmeyer", "chem07").projects == ("chem07",)
    with pytest.raises(Conflict, match="projects"):
        users.remove_role("kmeyer", "manager")
    assert users.remove_project("kmeyer", "chem07").projects == ()
    assert users.remove_role("kmeyer", "manager").roles == {"user"}


def test_taking_a_role_away_never_makes_a_service_account(users: Users) -> None:
    """`api` alone sees all jobs: whoever loses a right must not gain more."""
    users.add("ada", ["user", "api"])
    with pytest.raises(Conflict, match="api' alone"):
        users.remove_role("ada", "user")
    assert users.get("ada").roles == {"user", "api"}
    assert users.remove_role("ada", "api").roles == {"user"}


def test_changes_that_change_nothing_are_conflicts(users: Users) -> None:
    users.add("kmeyer", ["manager"], projects=["a"])
    with pytest.raises(Conflict):
        users.add_role("kmeyer", "manager")
    with pytest.raises(Conflict):
        users.remove_role("kmeyer", "user")
    with pytest.raises(Conflict):
        users.add_project("kmeyer", "a")
    with pytest.raises(Conflict):
        users.remove_project("kmeyer", "b")
    with pytest.raises(InvalidInput):
        users.add_role("kmeyer", "root")
    users.add("other", ["user"])
    with pytest.raises(Conflict, match="not a manager"):
        users.add_project("other", "a")


def test_what_is_not_there_cannot_be_changed(users: Users) -> None:
    for change in (
        lambda: users.get("nobody"),
        lambda: users.remove("nobody", now_s=NOW_S),
        lambda: users.disable("nobody", now_s=NOW_S),
        lambda: users.enable("nobody"),
        lambda: users.set_password("nobody", PASSWORD),
        lambda: users.add_role("nobody", "user"),
        lambda: users.remove_role("nobody", "user"),
        lambda: users.add_project("nobody", "a"),
    ):
        with pytest.raises(NotFound):
            change()
