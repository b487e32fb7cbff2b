"""Passwords of accounts that came from ClusterCockpit 1.5."""

import argon2
import bcrypt
import pytest

from cc_backend.auth import imported_passwords
from cc_backend.auth.imported_passwords import is_imported_hash, matches_imported_hash
from cc_backend.auth.passwords import Passwords
from cc_backend.auth.tables import UserRow
from cc_backend.auth.users import Users
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotAuthenticated

NOW_S = 1_760_000_000
SALT = bcrypt.gensalt(4)


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), SALT).decode()


def stored_hash(database: Database, name: str) -> str:
    return str(UserRow.select(UserRow.password).where(UserRow.name == name).scalar(database))


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_each_form_of_the_hash_is_checked(prefix: str) -> None:
    stored = prefix + hashed("open sesame")[4:]
    assert is_imported_hash(stored)
    assert matches_imported_hash(stored, "open sesame")
    assert not matches_imported_hash(stored, "open sesamE")


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "open sesame",
        "$2a$10$",
        "$2x$10$" + "a" * 53,
        "$2a$15$" + "a" * 53,  # two seconds of a core
        "$2a$31$" + "a" * 53,  # a day of a core
        "$2a$03$" + "a" * 53,
        "$2a$10$" + "a" * 54,
        "$2a$10$" + "a" * 52 + "\n",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
    ],
)
def test_what_is_no_such_hash_is_none(stored: str | None) -> None:
    assert not is_imported_hash(stored)


def test_the_hash_of_nobody_is_one_of_the_usual_cost() -> None:
    assert is_imported_hash(imported_passwords._DUMMY)
    assert not matches_imported_hash(None, "")


@pytest.mark.parametrize("password", ["x" * 72 + "y", "open sesame\0", "\0", "\ud800", "x" * 100_000])
def test_a_password_that_bcrypt_cannot_hold_never_matches(password: str) -> None:
    assert not matches_imported_hash(hashed("x" * 72), password)
    assert not matches_imported_hash(hashed("open sesame"), password)
    assert not matches_imported_hash(hashed("?"), password)


def test_the_first_login_replaces_the_hash(database: Database, hasher: argon2.PasswordHasher) -> None:
    users = Users(database, hasher=hasher)
    users.add("ada", ["user"], password_hash=hashed("open sesame"))
    with pytest.raises(NotAuthenticated):
        users.verify_password("ada", "open sesamE", NOW_S)
    assert stored_hash(database, "ada").startswith("$2")
    assert users.verify_password("ada", "open sesame", NOW_S).name == "ada"
    assert stored_hash(database, "ada").startswith("$argon2id$")
    assert users.verify_password("ada", "open sesame", NOW_S).name == "ada"
    assert not users._has_imported_hashes()


def test_a_hash_is_no_password(database: Database, hasher: argon2.PasswordHasher) -> None:
    users = Users(database, hasher=hasher)
    users.add("ada", ["user"], password_hash=hashed("open sesame"))
    with pytest.raises(NotAuthenticated):
        users.verify_password("ada", hashed("open sesame"), NOW_S)


def test_other_hashes_are_refused(database: Database, hasher: argon2.PasswordHasher) -> None:
    with pytest.raises(InvalidInput, match="bcrypt"):
        Users(database, hasher=hasher).add("ada", ["user"], password_hash="$1$x$y")


def test_who_has_such_a_hash_cannot_be_told_from_the_time(
    hasher: argon2.PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of account, and none, costs one check of either kind."""
    calls: list[str] = []
    real_verify, real_check = argon2.PasswordHasher.verify, bcrypt.checkpw
    monkeypatch.setattr(
        argon2.PasswordHasher, "verify", lambda *given: (calls.append("argon2"), real_verify(*given))[1]
    )
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: (calls.append("bcrypt"), real_check(*given))[1])
    passwords = Passwords(hasher)
    for stored in (None, passwords.hash("correct horse"), hashed("open sesame")):
        calls.clear()
        assert not passwords.matches(stored, "wrong horse", has_imported=True)
        assert calls == ["argon2", "bcrypt"]
    calls.clear()
    assert not passwords.matches(None, "wrong horse")
    assert calls == ["argon2"]
