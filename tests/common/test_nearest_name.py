from __future__ import annotations

from cc_common.nearest_name import did_you_mean


def test_the_most_similar_name_is_suggested() -> None:
    assert did_you_mean("rnu", ["once", "run", "version"]) == "; did you mean 'run'?"


def test_nothing_is_suggested_where_no_name_is_similar() -> None:
    assert did_you_mean("xyz", ["once", "run"]) == ""
