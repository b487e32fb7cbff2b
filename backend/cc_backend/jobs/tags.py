"""Tags of jobs: who may see and who may attach them.

| scope | seen by | attached by |
|---|---|---|
| `global` | everybody | administrators, support, service accounts |
| `admin` | administrators, support | administrators, service accounts |
| a user name | that user | that user |
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cc_backend.auth.caller import Caller, Role
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotAllowed
from cc_backend.jobs.filter_parameters import parse_tags
from cc_backend.jobs.tables import JobTagRow, TagRow
from cc_backend.model import Tag

GLOBAL = "global"
ADMIN = "admin"


def may_see_scope(scope: str, caller: Caller) -> bool:
    """Whether a caller may see tags of a scope."""
    if scope == GLOBAL:
        return True
    if scope == ADMIN:
        return bool(caller.roles & {Role.ADMIN, Role.SUPPORT})
    return scope == caller.name


def may_attach_scope(scope: str, caller: Caller) -> bool:
    """Whether a caller may create and attach tags of a scope."""
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

    An empty scope means `global`. Tags that are attached already stay.

    Raises:
        InvalidInput: a tag has no type or no name.
        NotAllowed: the caller may not attach tags of a scope; the text names it.
    """
    wanted = [Tag(tag.type, tag.name, tag.scope or GLOBAL) for tag in tags]
    for tag in wanted:
        if not tag.type or not tag.name:
            raise InvalidInput("tags: a tag needs a type and a name")
        if not may_attach_scope(tag.scope, caller):
            raise NotAllowed(f"'{caller.name}' may not attach tags of the scope '{tag.scope}'")
    with database.write():
        attached = {replace(tag, id=_tag_id(database, tag)) for tag in wanted}
        for tag in attached:
            JobTagRow.insert(job=job, tag=tag.id).on_conflict_ignore().execute(database)
    return tuple(sorted(attached, key=lambda tag: (tag.type, tag.name, tag.id)))


def _tag_id(database: Database, tag: Tag) -> int:
    same = (TagRow.type == tag.type) & (TagRow.name == tag.name) & (TagRow.scope == tag.scope)
    found = TagRow.select(TagRow.id).where(same).scalar(database)
    if found is not None:
        return int(found)
    return int(TagRow.insert(type=tag.type, name=tag.name, scope=tag.scope).execute(database))
