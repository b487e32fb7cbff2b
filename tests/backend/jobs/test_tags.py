from collections.abc import Callable

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotAllowed, NotFound
from cc_backend.jobs.job_rows import read_tags
from cc_backend.jobs.meta_changes import queued_meta_changes
from cc_backend.jobs.tags import (
    attach_tags,
    detach_tags,
    list_tags,
    may_attach_scope,
    may_see_scope,
    remove_tags,
    visible_tags,
)
from cc_backend.model import Job, Tag

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


SERVICE, ADMINISTRATOR = Caller("svc", frozenset({"api"})), Caller("root", frozenset({"admin", "api"}))


def tags_of(database: Database, job: int) -> set[tuple[str, str, str]]:
    return {(tag.type, tag.name, tag.scope) for tag in read_tags(database, [job]).get(job, ())}


class TestChanges:
    def test_tags_are_attached_once_however_often_they_are_sent(
        self, database: Database, started: Callable[..., Job]
    ) -> None:
        job = started().id
        wanted = [Tag("app", "wave"), Tag("app", "wave"), Tag("app", "wave", "")]
        first, again = (attach_tags(database, job, wanted, SERVICE) for _ in range(2))
        assert first == again
        assert tags_of(database, job) == {("app", "wave", "global")}

    def test_the_same_name_in_two_scopes_is_two_tags(self, database: Database, started: Callable[..., Job]) -> None:
        job = started().id
        attach_tags(database, job, [Tag("a", "b"), Tag("a", "b", "admin"), Tag("a", "b", "root")], ADMINISTRATOR)
        detach_tags(database, job, [Tag("a", "b", "admin")], ADMINISTRATOR)
        assert tags_of(database, job) == {("a", "b", "global"), ("a", "b", "root")}

    @pytest.mark.parametrize("change", [attach_tags, detach_tags])
    def test_a_forbidden_scope_changes_nothing_at_all(
        self, database: Database, started: Callable[..., Job], change: Callable[..., object]
    ) -> None:
        job = started().id
        attach_tags(database, job, [Tag("a", "1")], SERVICE)
        with pytest.raises(NotAllowed, match="'somebody'"):
            change(database, job, [Tag("a", "1"), Tag("a", "2"), Tag("a", "3", "somebody")], SERVICE)
        assert tags_of(database, job) == {("a", "1", "global")}

    @pytest.mark.parametrize(
        "tag",
        [Tag("", "x"), Tag("x", ""), Tag("x" * 257, "x"), Tag("x", "y\x00"), Tag("x", "a\nb"), Tag("x", "\ud800")],
    )
    def test_a_tag_that_cannot_be_shown_is_refused(
        self, database: Database, started: Callable[..., Job], tag: Tag
    ) -> None:
        with pytest.raises(InvalidInput):
            attach_tags(database, started().id, [tag], SERVICE)

    def test_a_job_has_a_thousand_tags_at_most(self, database: Database, started: Callable[..., Job]) -> None:
        job = started().id
        attach_tags(database, job, [Tag("a", str(number)) for number in range(1000)], SERVICE)
        with pytest.raises(InvalidInput, match="1000"):
            attach_tags(database, job, [Tag("a", "one more")], SERVICE)
        assert len(tags_of(database, job)) == 1000

    def test_a_detached_tag_stays_for_other_jobs_and_an_unknown_one_is_passed_over(
        self, database: Database, started: Callable[..., Job]
    ) -> None:
        jobs = [started(number).id for number in (1, 2)]
        for job in jobs:
            attach_tags(database, job, [Tag("a", "b")], SERVICE)
        detach_tags(database, jobs[0], [Tag("a", "b"), Tag("no", "such")], SERVICE)
        assert [tags_of(database, job) for job in jobs] == [set(), {("a", "b", "global")}]

    def test_a_removed_tag_leaves_all_its_jobs_and_the_list(
        self, database: Database, started: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cc_backend.jobs.tags._BATCH", 2)
        jobs = [started(number).id for number in range(1, 6)]
        for job in jobs:
            attach_tags(database, job, [Tag("a", "gone"), Tag("a", "kept")], SERVICE)
        assert remove_tags(database, [Tag("a", "gone"), Tag("no", "such")], SERVICE) == 1
        assert {name for job in jobs for _, name, _ in tags_of(database, job)} == {"kept"}
        assert [tag.name for _, tag in list_tags(database, SERVICE)] == ["kept"]

    def test_nothing_is_removed_if_one_scope_is_forbidden(
        self, database: Database, started: Callable[..., Job]
    ) -> None:
        attach_tags(database, started().id, [Tag("a", "b")], SERVICE)
        with pytest.raises(NotAllowed):
            remove_tags(database, [Tag("a", "b"), Tag("a", "c", "somebody")], SERVICE)
        assert len(list_tags(database, SERVICE)) == 1


class TestTheQueueOfChanges:
    def test_only_finished_jobs_wait_for_the_archive(
        self, database: Database, started: Callable[..., Job], stopped: Callable[..., Job]
    ) -> None:
        running, finished = started(1).id, stopped(2).id
        for job in (running, finished):
            attach_tags(database, job, [Tag("a", "b")], SERVICE)
        assert queued_meta_changes(database) == [(finished, 1)]

    def test_each_change_counts_and_what_changes_nothing_does_not(
        self, database: Database, stopped: Callable[..., Job]
    ) -> None:
        job = stopped().id
        attach_tags(database, job, [Tag("a", "b")], SERVICE)
        attach_tags(database, job, [Tag("a", "b")], SERVICE)
        detach_tags(database, job, [Tag("no", "such")], SERVICE)
        assert queued_meta_changes(database) == [(job, 1)]
        detach_tags(database, job, [Tag("a", "b")], SERVICE)
        assert queued_meta_changes(database) == [(job, 2)]

    def test_the_jobs_of_a_removed_tag_wait(
        self, database: Database, started: Callable[..., Job], stopped: Callable[..., Job]
    ) -> None:
        for job in (started(1).id, stopped(2).id, stopped(3).id):
            attach_tags(database, job, [Tag("a", "b")], SERVICE)
        remove_tags(database, [Tag("a", "b")], SERVICE)
        assert [revision for _, revision in queued_meta_changes(database)] == [2, 2]


def test_a_job_that_is_removed_while_it_is_tagged_is_not_found_and_leaves_no_tag(database: Database) -> None:
    with pytest.raises(NotFound):
        attach_tags(database, 99_999, [Tag("app", "wave")], SERVICE)
    assert list_tags(database, SERVICE) == []
