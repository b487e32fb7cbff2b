import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.auth.token_keys import TokenKeys, generate_keys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import User, Users
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, Unavailable
from cc_common.errors import SettingsError

NOW_S = 1_760_000_000
SERVICE = User("svc-slurm", frozenset({"api"}))
KMEYER = User("kmeyer", frozenset({"user"}))
ROOT = User("root1", frozenset({"admin", "api"}))


def part(document: Any) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(private: str, claims: Any, header: Mapping[str, Any] | None = None) -> str:
    """A token made by hand, as another program with the key would make it."""
    head = {"alg": "EdDSA", "typ": "JWT"} if header is None else header
    body = f"{part(head)}.{part(claims)}"
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private)[:32])
    return f"{body}.{part(key.sign(body.encode()))}"


def issue(tokens: Tokens, user: User = SERVICE, **changes: Any) -> str:
    """A token of an account, which is made first if there is none."""
    with suppress(Conflict):
        Users(tokens._database).add(user.name, user.roles)
    return tokens.issue(user, **({"scopes": ["jobs"], "max_age_s": 3600, "now_s": NOW_S} | changes))


def claims_of(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def test_an_issued_token_stands_for_what_it_was_issued_for(tokens: Tokens) -> None:
    token = issue(tokens, scopes=["write", "jobs"], clusters=["tern"])
    caller = tokens.verify(token, NOW_S)
    assert (caller.name, caller.roles, caller.scopes, caller.allowed_clusters, caller.kind) == (
        "svc-slurm",
        {"api"},
        {"write", "jobs"},
        ("tern",),
        "token",
    )


def test_an_issued_token_says_who_what_and_until_when(tokens: Tokens) -> None:
    claims = claims_of(issue(tokens))
    assert claims.pop("jti")
    assert claims == {"sub": "svc-slurm", "roles": ["api"], "iat": NOW_S, "exp": NOW_S + 3600, "scopes": ["jobs"]}


def test_a_token_without_scopes_or_end_looks_like_one_of_the_reference(tokens: Tokens) -> None:
    token = issue(tokens, scopes=None, max_age_s=None)
    assert set(claims_of(token)) == {"sub", "roles", "iat", "jti"}
    assert tokens.verify(token, NOW_S + 10**9).scopes is None


def test_a_token_of_the_reference_is_taken(tokens: Tokens, key_texts: tuple[str, str]) -> None:
    token = signed(key_texts[0], {"sub": "svc-slurm-a", "roles": ["api"], "iat": NOW_S, "exp": NOW_S + 100})
    caller = tokens.verify(token, NOW_S)
    assert (caller.name, caller.roles, caller.scopes, caller.projects) == ("svc-slurm-a", {"api"}, None, ())


def test_a_token_needs_neither_end_nor_number(tokens: Tokens, key_texts: tuple[str, str]) -> None:
    assert tokens.verify(signed(key_texts[0], {"sub": "a", "roles": []}), NOW_S).roles == frozenset()


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"roles": ["api"]},
        {"sub": "", "roles": ["api"]},
        {"sub": 7, "roles": ["api"]},
        {"sub": ["a"], "roles": ["api"]},
        {"sub": "a", "roles": "api"},
        {"sub": "a", "roles": [["api"]]},
        {"sub": "a", "roles": ["api", 1]},
        {"sub": "a", "roles": {"api": True}},
        {"sub": "a", "roles": ["api"], "scopes": "admin"},
        {"sub": "a", "roles": ["api"], "scopes": [1]},
        {"sub": "a", "roles": ["api"], "clusters": "tern"},
        {"sub": "a", "roles": ["api"], "jti": 5},
        {"sub": "a", "roles": ["api"], "jti": "never issued"},
        {"sub": "a", "roles": ["api"], "exp": "tomorrow"},
        {"sub": "a", "roles": ["api"], "exp": True},
        {"sub": "a", "roles": ["api"], "exp": float("nan")},
        {"sub": "a", "roles": ["api"], "exp": NOW_S},
        {"sub": "a", "roles": ["api"], "exp": 0},
        {"sub": "a", "roles": ["api"], "nbf": NOW_S + 1},
        ["sub"],
        "sub",
        None,
        b"\xff\xfe",
    ],
)
def test_signed_nonsense_is_refused(tokens: Tokens, key_texts: tuple[str, str], claims: Any) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.verify(signed(key_texts[0], claims), NOW_S)


def forged(kind: str, public: bytes) -> str:
    claims = {"sub": "root1", "roles": ["admin", "api"]}
    key, algorithm = {
        "hs256 with the public key": (public, "HS256"),
        "hs512 with the public key": (public, "HS512"),
        "hs256 with the public key as text": (base64.b64encode(public), "HS256"),
        "hs256 with an empty key": (b"", "HS256"),
        "eddsa header over an hmac": (public, "EdDSA"),
    }[kind]
    body = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}"
    digest = hashlib.sha512 if algorithm == "HS512" else hashlib.sha256
    return f"{body}.{part(hmac.new(key, body.encode(), digest).digest())}"


@pytest.mark.parametrize(
    "kind",
    [
        "hs256 with the public key",
        "hs512 with the public key",
        "hs256 with the public key as text",
        "hs256 with an empty key",
        "eddsa header over an hmac",
    ],
)
def test_a_token_that_confuses_algorithms_is_refused(tokens: Tokens, key_texts: tuple[str, str], kind: str) -> None:
    with pytest.raises(NotAuthenticated, match="not signed here"):
        tokens.verify(forged(kind, base64.b64decode(key_texts[1])), NOW_S)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "Ed25519", "Ed448", "RS256", "eddsa", None, 7, ["EdDSA"]]
)
def test_any_other_algorithm_is_refused_even_with_a_good_signature(
    tokens: Tokens, key_texts: tuple[str, str], algorithm: Any
) -> None:
    claims = {"sub": "root1", "roles": ["admin", "api"]}
    token = signed(key_texts[0], claims, {"alg": algorithm, "typ": "JWT"})
    for attack in (token, token.rsplit(".", 1)[0] + ".", token.rsplit(".", 1)[0]):
        with pytest.raises(NotAuthenticated):
            tokens.verify(attack, NOW_S)


@pytest.mark.parametrize(
    "extra",
    [{"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}}, {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}],
)
def test_a_header_cannot_bring_its_own_key_or_rules(
    tokens: Tokens, key_texts: tuple[str, str], extra: dict[str, Any]
) -> None:
    foreign, _ = generate_keys()
    for private in (foreign, key_texts[0]) if "crit" in extra else (foreign,):
        with pytest.raises(NotAuthenticated):
            tokens.verify(signed(private, {"sub": "a", "roles": ["api"]}, {"alg": "EdDSA", **extra}), NOW_S)


def test_a_token_of_a_foreign_key_is_refused(tokens: Tokens) -> None:
    foreign, _ = generate_keys()
    with pytest.raises(NotAuthenticated):
        tokens.verify(signed(foreign, {"sub": "a", "roles": ["api"]}), NOW_S)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(text=st.text(max_size=80) | st.from_regex(r"[\w-]{0,9}(\.[\w-]{0,9}){0,4}", fullmatch=True))
def test_no_text_is_a_token_by_chance(tokens: Tokens, text: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.verify(text, NOW_S)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_a_token_with_any_changed_character_is_refused(tokens: Tokens, key_texts: tuple[str, str], data: Any) -> None:
    token = signed(key_texts[0], {"sub": "a", "roles": ["user"]})
    place = data.draw(st.integers(0, len(token) - 3))  # the last characters hold unused bits of base64
    letter = data.draw(st.sampled_from("ABCxyz019-_.="))
    if letter != token[place]:
        with pytest.raises(NotAuthenticated):
            tokens.verify(token[:place] + letter + token[place + 1 :], NOW_S)


def test_a_huge_token_is_refused_unread(tokens: Tokens) -> None:
    with pytest.raises(NotAuthenticated, match="too long"):
        tokens.verify("a" * 10_000, NOW_S)


def test_a_token_expires_also_when_it_was_just_seen(tokens: Tokens) -> None:
    token = issue(tokens)
    tokens.verify(token, NOW_S + 3599)
    with pytest.raises(NotAuthenticated, match="expired"):
        tokens.verify(token, NOW_S + 3600)


def test_a_revoked_token_is_refused_at_once_also_when_it_was_just_seen(tokens: Tokens) -> None:
    token = issue(tokens)
    tokens.verify(token, NOW_S)
    tokens.revoke(claims_of(token)["jti"], now_s=NOW_S)
    with pytest.raises(NotAuthenticated, match="revoked"):
        tokens.verify(token, NOW_S)


def test_a_revocation_by_another_process_counts_at_once(tokens: Tokens, database: Database, keys: TokenKeys) -> None:
    token = issue(tokens)
    tokens.verify(token, NOW_S)
    Tokens(database, keys).revoke(claims_of(token)["jti"], now_s=NOW_S)
    with pytest.raises(NotAuthenticated, match="revoked"):
        tokens.verify(token, NOW_S)


def test_revoking_twice_keeps_the_first_time_and_an_unknown_token_is_not_found(tokens: Tokens) -> None:
    jti = claims_of(issue(tokens))["jti"]
    tokens.revoke(jti, now_s=NOW_S)
    tokens.revoke(jti, now_s=NOW_S + 5)
    assert tokens.list()[0].revoked_s == NOW_S
    with pytest.raises(NotFound):
        tokens.revoke("unknown", now_s=NOW_S)


def test_records_tell_what_was_issued_and_when_it_was_used_but_not_the_token(
    tokens: Tokens, database: Database
) -> None:
    token = issue(tokens, scopes=["write"], clusters=["tern"], name="agents of tern")
    tokens.verify(token, NOW_S + 10)
    tokens.verify(token, NOW_S + 20)
    assert tokens.flush_last_used() == 1
    assert tokens.flush_last_used() == 0
    (record,) = tokens.list("svc-slurm")
    assert (record.name, record.scopes, record.clusters) == ("agents of tern", ("write",), ("tern",))
    assert (record.created_s, record.expires_s, record.last_used_s) == (NOW_S, NOW_S + 3600, NOW_S + 20)
    assert tokens.list("somebody") == []
    row = database.first_row("SELECT * FROM token")
    assert row is not None
    assert token not in row


@pytest.mark.parametrize(
    ("user", "changes", "text"),
    [
        (KMEYER, {"scopes": ["jobs"]}, "scopes"),
        (KMEYER, {"scopes": ["write", "read"]}, "scopes"),
        (KMEYER, {"roles": ["admin"]}, "roles"),
        (SERVICE, {"scopes": ["admin"]}, "scopes"),
        (SERVICE, {"scopes": []}, "scopes"),
        (SERVICE, {"scopes": ["everything"]}, "no scope"),
        (ROOT, {"roles": ["api"], "scopes": ["admin"]}, "scopes"),
        (ROOT, {"roles": []}, "roles"),
        (ROOT, {"max_age_s": 0}, "life"),
        (ROOT, {"max_age_s": -5}, "life"),
    ],
)
def test_nobody_is_granted_more_than_their_account_has(
    tokens: Tokens, user: User, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        issue(tokens, user, **changes)
    assert tokens.list() == []


def test_with_validate_user_the_account_decides_not_the_token(
    database: Database, keys: TokenKeys, users: Users, key_texts: tuple[str, str]
) -> None:
    tokens = Tokens(database, keys, validate_user=True)
    token = signed(key_texts[0], {"sub": "kmeyer", "roles": ["admin", "api"]})
    with pytest.raises(NotAuthenticated, match="kmeyer"):
        tokens.verify(token, NOW_S)
    users.add("kmeyer", ["manager"], projects=["chem07"])
    caller = tokens.verify(token, NOW_S)
    assert (caller.roles, caller.projects) == ({"manager"}, ("chem07",))
    users.remove("kmeyer", now_s=NOW_S)
    with pytest.raises(NotAuthenticated):
        tokens.verify(token, NOW_S)


def test_a_token_ends_with_its_account_in_whichever_process_that_was_removed(
    tokens: Tokens, database_url: str, users: Users
) -> None:
    token = issue(tokens)
    assert tokens.verify(token, NOW_S).name == "svc-slurm"
    other_process = open_database(database_url)
    Users(other_process).remove("svc-slurm", now_s=NOW_S)
    other_process.close_all()
    with pytest.raises(NotAuthenticated):
        tokens.verify(token, NOW_S)
    users.add("svc-slurm", ["api"])
    with pytest.raises(NotAuthenticated, match="revoked"):
        tokens.verify(token, NOW_S)


def test_a_token_of_the_reference_ends_with_its_account(
    tokens: Tokens, users: Users, key_texts: tuple[str, str]
) -> None:
    old, new, timeless = (
        signed(key_texts[0], {"sub": "kmeyer", "roles": ["api"]} | times)
        for times in ({"iat": NOW_S}, {"iat": NOW_S + 10}, {})
    )
    users.add("kmeyer", ["api"])
    assert {tokens.verify(token, NOW_S + 20).name for token in (old, new, timeless)} == {"kmeyer"}
    users.remove("kmeyer", now_s=NOW_S + 5)
    for again in (False, True):
        if again:
            users.add("kmeyer", ["api"])
        for token in (old, timeless):
            with pytest.raises(NotAuthenticated, match="kmeyer"):
                tokens.verify(token, NOW_S + 20)
        assert tokens.verify(new, NOW_S + 20).name == "kmeyer"


def test_tokens_of_a_disabled_account_open_nothing_until_it_is_enabled(
    tokens: Tokens, users: Users, key_texts: tuple[str, str]
) -> None:
    both = (issue(tokens), signed(key_texts[0], {"sub": "svc-slurm", "roles": ["api"]}))
    users.disable("svc-slurm", now_s=NOW_S)
    for token in both:
        with pytest.raises(NotAuthenticated, match="disabled") as refused:
            tokens.verify(token, NOW_S)
        assert refused.value.code == "account_disabled"
    users.enable("svc-slurm")
    assert {tokens.verify(token, NOW_S).name for token in both} == {"svc-slurm"}


def test_a_token_never_has_more_roles_than_its_account_has_now(
    tokens: Tokens, users: Users, key_texts: tuple[str, str]
) -> None:
    token = issue(tokens, ROOT, scopes=["admin"])
    elsewhere = signed(key_texts[0], {"sub": "root1", "roles": ["admin", "api", "support"]})
    assert tokens.verify(token, NOW_S).roles == tokens.verify(elsewhere, NOW_S).roles == {"admin", "api"}
    users.add("root2", ["admin"])
    users.add_role("root1", "support")
    users.remove_role("root1", "admin")
    assert tokens.verify(token, NOW_S).roles == frozenset()
    assert tokens.verify(elsewhere, NOW_S).roles == {"api", "support"}
    users.remove_role("root1", "api")
    assert tokens.verify(token, NOW_S).roles == frozenset()
    assert tokens.verify(elsewhere, NOW_S).roles == {"support"}


def test_a_token_of_a_user_never_becomes_one_of_a_service(
    tokens: Tokens, users: Users, key_texts: tuple[str, str]
) -> None:
    """`api` alone sees all jobs, so a token that loses its other roles has none."""
    users.add("ada", ["user", "api"])
    token = issue(tokens, users.get("ada"), scopes=None)
    elsewhere = signed(key_texts[0], {"sub": "ada", "roles": ["user", "api"]})
    users.add_role("ada", "support")
    users.remove_role("ada", "user")
    for one in (token, elsewhere):
        assert tokens.verify(one, NOW_S).roles == frozenset()
        assert not tokens.verify(one, NOW_S).is_service


def test_a_managers_token_has_the_projects_of_the_account(tokens: Tokens, users: Users) -> None:
    users.add("mgr", ["manager"], projects=["chem07"])
    token = issue(tokens, users.get("mgr"), scopes=["read"])
    assert tokens.verify(token, NOW_S).projects == ("chem07",)
    users.remove_project("mgr", "chem07")
    assert tokens.verify(token, NOW_S).projects == ()


def test_without_keys_no_token_is_taken(database: Database, key_texts: tuple[str, str]) -> None:
    with pytest.raises(NotAuthenticated, match="no token key"):
        Tokens(database, None).verify(signed(key_texts[0], {"sub": "a", "roles": ["api"]}), NOW_S)


def test_with_the_public_key_alone_tokens_are_checked_but_not_issued(
    database: Database, key_texts: tuple[str, str]
) -> None:
    tokens = Tokens(database, TokenKeys.from_base64(public=key_texts[1]))
    assert tokens.verify(signed(key_texts[0], {"sub": "a", "roles": ["api"]}), NOW_S).name == "a"
    with pytest.raises(Unavailable, match="private"):
        issue(tokens)


def test_the_private_key_alone_is_enough(database: Database, key_texts: tuple[str, str]) -> None:
    tokens = Tokens(database, TokenKeys.from_base64(private=key_texts[0]))
    assert tokens.verify(issue(tokens), NOW_S).name == "svc-slurm"


def test_keys_have_the_form_of_the_reference(key_texts: tuple[str, str]) -> None:
    private, public = (base64.b64decode(text, validate=True) for text in key_texts)
    assert (len(private), len(public)) == (64, 32)
    assert private[32:] == public


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("private", "public"),
    [
        ("", ""),
        ("no base64!", ""),
        ("", "no base64!"),
        ("", b64(b"")),
        ("", b64(bytes(32))),
        ("", b64(b"x" * 31)),
        ("", b64(b"x" * 64)),
        (b64(b"x" * 32), ""),
        (b64(bytes(64)), ""),
        (b64(b"x" * 64), ""),
    ],
)
def test_keys_that_are_none_are_refused_by_the_name_of_their_setting(private: str, public: str) -> None:
    setting = "auth.jwts.private-key" if private else "auth.jwts.public-key"
    with pytest.raises(SettingsError, match=f"^{setting}: "):
        TokenKeys.from_base64(private=private, public=public)


def test_keys_that_do_not_belong_together_are_refused(key_texts: tuple[str, str]) -> None:
    _, other = generate_keys()
    with pytest.raises(SettingsError, match="belong"):
        TokenKeys.from_base64(private=key_texts[0], public=other)


def test_the_memory_for_verified_tokens_is_bounded(
    tokens: Tokens, key_texts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.auth.signatures._CACHE_SIZE", 3)
    for number in range(10):
        tokens.verify(signed(key_texts[0], {"sub": f"u{number}", "roles": ["api"]}), NOW_S)
    assert tokens._signatures is not None
    assert len(tokens._signatures._cache) == 3


def test_a_token_that_was_good_is_taken_while_the_database_is_away(tokens: Tokens, database: Database) -> None:
    token, unseen = issue(tokens), issue(tokens)
    caller = tokens.verify(token, NOW_S)
    database.close_all()
    assert tokens.verify(token, NOW_S + 1) == caller
    with pytest.raises(Unavailable):
        tokens.verify(unseen, NOW_S + 1)


def test_a_token_whose_time_is_over_is_refused_all_the_same(tokens: Tokens, database: Database) -> None:
    token = issue(tokens)
    tokens.verify(token, NOW_S)
    database.close_all()
    with pytest.raises(NotAuthenticated, match="expired"):
        tokens.verify(token, NOW_S + 3601)


def test_no_request_writes_when_a_token_was_used(database: Database, keys: TokenKeys, database_url: str) -> None:
    hurried = open_database(database_url, busy_timeout_s=0.1)
    tokens = Tokens(hurried, keys)
    token = issue(tokens)
    with database.write():  # of another process
        tokens.verify(token, NOW_S)
        with pytest.raises(Unavailable):
            tokens.flush_last_used()
    assert tokens.flush_last_used() == 1
    assert tokens.list()[0].last_used_s == NOW_S
    hurried.close_all()
