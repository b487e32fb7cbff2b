"""Which jobs a caller may see."""

from cc_backend.auth.caller import Caller, Role
from cc_backend.errors import NotAllowed
from cc_backend.model import RowRule
from cc_common.error_codes import ErrorCode


def row_rule_for(caller: Caller) -> RowRule:
    """The rule that every query of jobs on behalf of this caller must carry; the first match counts.

    | roles | jobs |
    |---|---|
    | exactly `api` | all |
    | `admin` or `support` among them | all |
    | `manager` among them | own, and those of the caller's projects |
    | `user` among them | own |

    A token that is bound to clusters sees of these only what lies in its clusters. Who sees a part of the jobs does not
    see metrics that are restricted to staff.

    Raises:
        NotAllowed: none of these, which is an error and not an empty list.
    """
    if caller.is_service or caller.roles & {Role.ADMIN, Role.SUPPORT}:
        return RowRule(all_jobs=True, allowed_clusters=caller.allowed_clusters)
    if Role.MANAGER in caller.roles:
        projects = tuple(sorted(project for project in caller.projects if project))
        return RowRule(
            user=caller.name, projects=projects, allowed_clusters=caller.allowed_clusters, hides_restricted=True
        )
    if Role.USER in caller.roles:
        return RowRule(user=caller.name, allowed_clusters=caller.allowed_clusters, hides_restricted=True)
    text = f"the account '{caller.name}' has no role that may see jobs; ask an administrator for one"
    raise NotAllowed(text, code=ErrorCode.ROLE_MISSING)
