"""Tokens that end soon are told of weeks before: to the log, to Prometheus, and to administrators on the start page."""

import logging
from typing import Any

import pytest

from cc_backend.auth.token_expiry import IN_USE_S, WARN_BEFORE_S, expiring_tokens, log_expiring_tokens
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users

NOW_S = 1_760_000_000
DAY_S = 86400
MONTHS_S = 90 * DAY_S


def used(tokens: Tokens, users: Users, name: str, *, used_s: float = NOW_S, **more: Any) -> None:
    """A token that was made and used by an account of its own."""
    if users.find(name) is None:
        users.add(name, ["api"])
    token = tokens.issue(users.get(name), None, ["write"], **({"max_age_s": MONTHS_S, "now_s": NOW_S} | more))
    tokens.verify(token, used_s)
    tokens.flush_last_used()


def names(tokens: Tokens, now_s: float, *clusters: str) -> list[str]:
    return [record.user for record in expiring_tokens(tokens, now_s, clusters)]


def test_a_token_in_use_is_told_of_three_weeks_before_its_end_until_then(tokens: Tokens, users: Users) -> None:
    end_s = NOW_S + MONTHS_S
    used(tokens, users, "agents", used_s=end_s - WARN_BEFORE_S - 10)
    assert names(tokens, end_s - WARN_BEFORE_S - 1) == []
    assert names(tokens, end_s - WARN_BEFORE_S) == names(tokens, end_s - DAY_S) == ["agents"]
    assert names(tokens, end_s + 1) == []


def test_what_needs_no_new_token_is_left_out(tokens: Tokens, users: Users) -> None:
    soon = {"max_age_s": 10 * DAY_S}
    users.add("unused", ["api"])
    tokens.issue(users.get("unused"), None, ["write"], now_s=NOW_S, **soon)
    used(tokens, users, "long-ago", used_s=NOW_S - IN_USE_S - 1, now_s=NOW_S - 50 * DAY_S, max_age_s=60 * DAY_S)
    used(tokens, users, "forever", max_age_s=None)
    for name in ("revoked", "disabled", "removed"):
        used(tokens, users, name, **soon)
    tokens.revoke_all("revoked", now_s=NOW_S)
    users.disable("disabled", now_s=NOW_S)
    users.remove("removed", now_s=NOW_S)
    used(tokens, users, "later", max_age_s=12 * DAY_S)
    used(tokens, users, "sooner", max_age_s=11 * DAY_S)
    assert names(tokens, NOW_S) == ["sooner", "later"]


def test_a_caller_that_is_bound_is_told_of_tokens_of_its_clusters_alone(tokens: Tokens, users: Users) -> None:
    for name, clusters in (("of tern", ["tern"]), ("of both", ["tern", "heron"]), ("of all", [])):
        used(tokens, users, name.replace(" ", "-"), max_age_s=DAY_S * 5, clusters=clusters)
    assert names(tokens, NOW_S, "tern") == ["of-tern"]
    assert sorted(names(tokens, NOW_S)) == ["of-all", "of-both", "of-tern"]


def test_the_log_names_account_and_days_but_never_the_token(
    tokens: Tokens, users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    used(tokens, users, "agents", max_age_s=DAY_S * 5 + 60)
    with caplog.at_level(logging.WARNING):
        assert log_expiring_tokens(tokens, NOW_S) == 1
    assert "account=agents scopes=write days=5" in caplog.text


def test_prometheus_and_the_start_page_of_administrators_show_them(site: Any) -> None:
    site.user("root1", "admin", password="a good password")
    site.user("hbrandt", "support", password="a good password")
    token = site.token("api", name="agents", scopes=["write"], max_age_s=5 * DAY_S + 60)
    site.client.post("/api/write/", data=b"", headers={"X-Auth-Token": token})
    site.services.tokens.flush_last_used()
    (record,) = site.services.tokens.list("agents")
    text = site.client.get("/metrics").text
    assert f'cc_backend_token_end_time_seconds{{account="agents",id="{record.jti}"}} {record.expires_s}' in text
    for name, shown in (("root1", True), ("hbrandt", False)):
        client = site.app.test_client()
        client.post("/login", data={"username": name, "password": "a good password"})
        assert ("of agents, in 5 days" in client.get("/").text.replace("\u00a0", " ")) is shown
        assert token not in client.get("/").text
