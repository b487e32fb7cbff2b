import pytest

from cc_backend.auth.caller import Caller
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.errors import NotAllowed
from cc_backend.model import RowRule

EVERYTHING = RowRule(all_jobs=True)


@pytest.mark.parametrize(
    ("roles", "projects", "expected"),
    [
        ("api", (), EVERYTHING),
        ("admin", (), EVERYTHING),
        ("support", (), EVERYTHING),
        ("support user", (), EVERYTHING),
        ("manager", ("b", "a"), RowRule(user="kmeyer", projects=("a", "b"), hides_restricted=True)),
        ("manager user", ("a", ""), RowRule(user="kmeyer", projects=("a",), hides_restricted=True)),
        ("manager", (), RowRule(user="kmeyer", hides_restricted=True)),
        ("user", ("a",), RowRule(user="kmeyer", hides_restricted=True)),
        ("user api", (), RowRule(user="kmeyer", hides_restricted=True)),
    ],
)
def test_the_first_role_that_fits_decides(roles: str, projects: tuple[str, ...], expected: RowRule) -> None:
    assert row_rule_for(Caller("kmeyer", frozenset(roles.split()), projects)) == expected


@pytest.mark.parametrize("roles", ["", "anonymous", "api anonymous", "root"])
def test_without_a_role_that_may_see_jobs_it_is_an_error_and_no_empty_list(roles: str) -> None:
    with pytest.raises(NotAllowed, match="kmeyer"):
        row_rule_for(Caller("kmeyer", frozenset(roles.split())))
