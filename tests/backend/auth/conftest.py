"""Accounts, tokens and logins on a database of each engine; passwords hash fast."""

import argon2
import pytest

from cc_backend.auth.sessions import Sessions
from cc_backend.auth.token_keys import TokenKeys, generate_keys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users
from cc_backend.db.database import Database

NOW_S = 1_760_000_000


@pytest.fixture
def hasher() -> argon2.PasswordHasher:
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def users(database: Database, hasher: argon2.PasswordHasher) -> Users:
    return Users(database, hasher=hasher)


@pytest.fixture(scope="session")
def key_texts() -> tuple[str, str]:
    return generate_keys()


@pytest.fixture(scope="session")
def keys(key_texts: tuple[str, str]) -> TokenKeys:
    return TokenKeys.from_base64(private=key_texts[0], public=key_texts[1])


@pytest.fixture
def tokens(database: Database, keys: TokenKeys) -> Tokens:
    return Tokens(database, keys)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database, max_age_s=7200, idle_s=3600)
