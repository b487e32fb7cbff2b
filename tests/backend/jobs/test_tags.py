import pytest

from cc_backend.auth.caller import Caller
from cc_backend.jobs.tags import may_attach_scope, may_see_scope, visible_tags
from cc_backend.model import Tag

CALLERS = {
    "service": Caller("svc", frozenset({"api"})),
    "user": Caller("kmeyer", frozenset({"user", "api"})),
    "manager": Caller("kmeyer", frozenset({"manager"})),
    "support": Caller("kmeyer", frozenset({"support"})),
    "admin": Caller("kmeyer", frozenset({"admin"})),
}


@pytest.mark.parametrize(
    ("scope", "seen_by", "attached_by"),
    [
        ("global", {"service", "user", "manager", "support", "admin"}, {"service", "support", "admin"}),
        ("admin", {"support", "admin"}, {"service", "admin"}),
        ("kmeyer", {"user", "manager", "support", "admin"}, {"user", "manager", "support", "admin"}),
        ("somebody", set(), set()),
        ("", set(), set()),
    ],
)
def test_each_scope_has_its_readers_and_writers(scope: str, seen_by: set[str], attached_by: set[str]) -> None:
    assert {name for name, caller in CALLERS.items() if may_see_scope(scope, caller)} == seen_by
    assert {name for name, caller in CALLERS.items() if may_attach_scope(scope, caller)} == attached_by


@pytest.mark.parametrize("name", ["admin", "global"])
def test_an_old_account_that_is_called_like_a_scope_gains_nothing(name: str) -> None:
    caller = Caller(name, frozenset({"user"}))
    assert not may_attach_scope(name, caller)
    assert may_see_scope("admin", caller) is False


def test_only_visible_tags_are_shown() -> None:
    tags = (Tag("a", "1"), Tag("a", "2", "admin"), Tag("a", "3", "kmeyer"), Tag("a", "4", "other"))
    assert [tag.name for tag in visible_tags(tags, CALLERS["user"])] == ["1", "3"]
