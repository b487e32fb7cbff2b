"""Tags of jobs: who may see them, and who may attach, detach and remove them.

| scope | seen by | changed by |
|---|---|---|
| `global` | everybody | administrators, support, service accounts |
| `admin` | administrators, support | administrators, service accounts |
| a user name | that user | that user |
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from cc_backend.auth.caller import Caller, Role
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotAllowed
from cc_backend.jobs.filter_parameters import parse_tags
from cc_backend.jobs.limits import MAX_NAME, MAX_TAGS
from cc_backend.jobs.meta_changes import queue_meta_changes
from cc_backend.jobs.tables import JobRow, JobTagRow, RejectedTagRow, TagRow
from cc_backend.model import Tag

GLOBAL = "global"
ADMIN = "admin"
_BATCH = 500


def may_see_scope(scope: str, caller: Caller) -> bool:
    """Whether a caller may see tags of a scope."""
    if scope == GLOBAL:
        return True
    if scope == ADMIN:
        return bool(caller.roles & {Role.ADMIN, Role.SUPPORT})
    return scope == caller.name


def may_attach_scope(scope: str, caller: Caller) -> bool:
    """Whether a caller may create, attach, detach and remove tags of a scope."""
    if scope == GLOBAL:
        return caller.sees_nodes
    if scope == ADMIN:
        return caller.is_service or caller.is_admin
    return bool(scope) and scope == caller.name


def visible_tags(tags: Iterable[Tag], caller: Caller) -> tuple[Tag, ...]:
    """The tags that a caller may see."""
    return tuple(tag for tag in tags if may_see_scope(tag.scope, caller))


def list_tags(database: Database, caller: Caller) -> list[tuple[int, Tag]]:
    """Id and tag of all tags that a caller may see, sorted by type and name."""
    rows = TagRow.select(TagRow.id, TagRow.type, TagRow.name, TagRow.scope).order_by(
        TagRow.type, TagRow.name, TagRow.id
    )
    found = [(id_, Tag(type_, name, scope)) for id_, type_, name, scope in rows.tuples().execute(database)]
    return [(id_, tag) for id_, tag in found if may_see_scope(tag.scope, caller)]


def resolve_tag_ids(database: Database, caller: Caller, texts: Sequence[str]) -> tuple[int, ...] | None:
    """The ids of the tags that the parameter `tag` names: () without values, None if none of them is visible."""
    if not texts:
        return ()
    choices = parse_tags(texts)
    wanted_ids = {choice.id for choice in choices}
    named = {(choice.type, choice.name) for choice in choices}
    known = list_tags(database, caller)
    found = tuple(id_ for id_, tag in known if id_ in wanted_ids or (tag.type, tag.name) in named)
    return found or None


def attach_tags(database: Database, job: int, tags: Iterable[Tag], caller: Caller) -> tuple[Tag, ...]:
    """Attach tags to the job with this id in one transaction, creating missing ones; returns them with ids, sorted.

    An empty scope means `global`. Tags that are attached already stay. The archive follows for a finished job.

    Raises:
        InvalidInput: a tag has no type or no name, a part of it cannot be shown, or the job would have too many.
        NotAllowed: the caller may not attach tags of a scope; the text names it.
    """
    wanted = _checked_tags(tags, caller)
    with database.write():
        attached = {replace(tag, id=find_or_create_tag(database, tag)) for tag in wanted}
        before = _tag_ids_of(database, job)
        new = {tag.id for tag in attached} - before
        if len(before | new) > MAX_TAGS:
            raise InvalidInput(f"tags: a job has at most {MAX_TAGS}")
        for id_ in new:
            JobTagRow.insert(job=job, tag=id_).execute(database)
        # what somebody attaches stays, even if a detector found it before
        mine = (JobTagRow.job == job) & JobTagRow.tag.in_([tag.id for tag in attached])
        JobTagRow.update(detected=False).where(mine, JobTagRow.detected).execute(database)
        _allow_again(database, job, attached)
        if new:
            queue_meta_changes(database, JobRow.id == job)
    return tuple(sorted(attached, key=lambda tag: (tag.type, tag.name, tag.id)))


def detach_tags(database: Database, job: int, tags: Iterable[Tag], caller: Caller) -> None:
    """Detach tags from the job with this id in one transaction; the tags themselves stay. The archive follows.

    Tags that are not attached or do not exist are passed over. A detector does not give them to this job again.

    Raises:
        InvalidInput: a tag has no type or no name.
        NotAllowed: the caller may not detach tags of a scope; the text names it.
    """
    wanted = _checked_tags(tags, caller)
    with database.write():
        found = [id_ for tag in wanted if (id_ := _find_tag(database, tag)) is not None]
        these = (JobTagRow.job == job) & JobTagRow.tag.in_(found)
        _reject(database, these)
        if JobTagRow.delete().where(these).execute(database):
            queue_meta_changes(database, JobRow.id == job)


def remove_tags(database: Database, tags: Iterable[Tag], caller: Caller) -> int:
    """Remove tags, also from all their jobs; returns how many of them there were. The archive follows.

    Each transaction takes a tag from some hundred jobs, and the last one removes it, so that other writers wait for
    moments only. An interruption leaves the tag with fewer jobs.

    Raises:
        InvalidInput: a tag has no type or no name.
        NotAllowed: the caller may not remove tags of a scope; the text names it. Nothing was removed.
    """
    wanted = _checked_tags(tags, caller)
    found = [id_ for tag in wanted if (id_ := _find_tag(database, tag)) is not None]
    for id_ in found:
        _remove_tag(database, id_)
    return len(found)


def _remove_tag(database: Database, id_: int) -> None:
    tagged = JobTagRow.select(JobTagRow.job).where(JobTagRow.tag == id_)
    while jobs := [job for (job,) in tagged.limit(_BATCH).tuples().execute(database)]:
        with database.write():
            queue_meta_changes(database, JobRow.id.in_(jobs))
            these = (JobTagRow.tag == id_) & JobTagRow.job.in_(jobs)
            _reject(database, these)
            JobTagRow.delete().where(these).execute(database)
    with database.write():
        queue_meta_changes(database, JobRow.id.in_(tagged))  # those that got it meanwhile
        _reject(database, JobTagRow.tag == id_)
        TagRow.delete().where(TagRow.id == id_).execute(database)


def _reject(database: Database, assignments: Any) -> None:
    """Remember the detected ones of these assignments, which are about to be removed."""
    rows = JobTagRow.select(JobTagRow.job, TagRow.type, TagRow.name, TagRow.scope).join(TagRow)
    fields = (RejectedTagRow.job, RejectedTagRow.type, RejectedTagRow.name, RejectedTagRow.scope)
    insert = RejectedTagRow.insert_from(rows.where(assignments, JobTagRow.detected), fields)
    insert.on_conflict_ignore().execute(database)


def _allow_again(database: Database, job: int, tags: Iterable[Tag]) -> None:
    for tag in tags:
        same = (RejectedTagRow.type == tag.type, RejectedTagRow.name == tag.name, RejectedTagRow.scope == tag.scope)
        RejectedTagRow.delete().where(RejectedTagRow.job == job, *same).execute(database)


def _checked_tags(tags: Iterable[Tag], caller: Caller) -> list[Tag]:
    """The tags with their scope, each once. Raises as `attach_tags`."""
    wanted = [Tag(tag.type, tag.name, tag.scope or GLOBAL) for tag in tags]
    if len(wanted) > MAX_TAGS:
        raise InvalidInput(f"tags: there are more than {MAX_TAGS}")
    for tag in wanted:
        if not tag.type or not tag.name:
            raise InvalidInput("tags: a tag needs a type and a name")
        if any(len(text) > MAX_NAME or not text.isprintable() for text in (tag.type, tag.name, tag.scope)):
            raise InvalidInput(f"tags: type, name and scope are printable and have at most {MAX_NAME} characters")
        if not may_attach_scope(tag.scope, caller):
            raise NotAllowed(f"'{caller.name}' may not change tags of the scope '{tag.scope}'")
    return list(dict.fromkeys(wanted))


def _tag_ids_of(database: Database, job: int) -> set[int]:
    return {id_ for (id_,) in JobTagRow.select(JobTagRow.tag).where(JobTagRow.job == job).tuples().execute(database)}


def find_or_create_tag(database: Database, tag: Tag) -> int:
    """The id of a tag, which is created if it is missing; inside a transaction."""
    return _find_tag(database, tag) or _create_tag(database, tag)


def _find_tag(database: Database, tag: Tag) -> int | None:
    same = (TagRow.type == tag.type) & (TagRow.name == tag.name) & (TagRow.scope == tag.scope)
    found = TagRow.select(TagRow.id).where(same).scalar(database)
    return None if found is None else int(found)


def _create_tag(database: Database, tag: Tag) -> int:
    return int(TagRow.insert(type=tag.type, name=tag.name, scope=tag.scope).execute(database))
