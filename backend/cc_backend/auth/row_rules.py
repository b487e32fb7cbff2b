"""Which jobs a caller may see."""

from cc_backend.auth.caller import Caller, Role
from cc_backend.errors import NotAllowed
from cc_backend.model import RowRule
from cc_common.error_codes import ErrorCode


def row_rule_for(caller: Caller) -> RowRule:
    """The row rule for every query of jobs on behalf of this caller; the first match wins.

    | roles | jobs |
    |---|---|
    | exactly `api` | all |
    | `admin` or `support` among them | all |
    | `manager` among them | own, and those of the caller's projects |
    | `user` among them | own |

    A token that is limited to clusters sees only jobs of these. Callers that do not see all jobs do not see metrics
    that are restricted to staff either.

    Raises:
        NotAllowed: the caller has none of these roles, which is an error rather than an empty list.
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
