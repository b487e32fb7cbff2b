from typing import Any

import pytest

from cc_backend.errors import NotAllowed
from cc_backend.http.cluster_scope import require_cluster_allowed


def test_one_cluster_is_checked_by_name() -> None:
    require_cluster_allowed("tern", ("tern", "heron"))
    require_cluster_allowed("wren", ())
    with pytest.raises(NotAllowed, match="'wren'"):
        require_cluster_allowed("wren", ("tern", "heron"))


@pytest.mark.parametrize("query", ["?cluster=heron", "?cluster=TERN", "?cluster=tern2"])
def test_the_default_cluster_of_a_batch_must_be_one_of_the_token(site: Any, query: str) -> None:
    headers = site.headers("api", scopes=["write"], clusters=["tern"])
    for body in (b"", b"load_one,hostname=tn01 value=1", b"load_one,cluster=tern,hostname=tn01 value=1"):
        answer = site.client.post(f"/api/write/{query}", data=body, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")
    assert site.services.store.hosts("tern") == []


def test_a_line_of_another_cluster_makes_the_batch_403_and_keeps_nothing_of_it(site: Any) -> None:
    headers = site.headers("api", scopes=["write"], clusters=["tern"])
    own, foreign = b"load_one,cluster=tern,hostname=tn01 value=1\n", b"load_one,cluster=heron,hostname=h value=1 12x\n"
    answer = site.client.post("/api/write/", data=own + foreign, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")
    assert "'heron'" in answer.get_json()["error"]
    assert site.services.store.clusters() == []
    assert site.client.post("/api/write/", data=own, headers=headers).status_code == 200


def test_too_many_odd_lines_are_413(site: Any) -> None:
    answer = site.client.post("/api/write/", data=b"x\n" * 200_000, headers=site.headers("api"))
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")
