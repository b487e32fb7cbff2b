from pathlib import Path

import pytest

from cc_backend.errors import InvalidInput, NotFound, TooLarge, Unavailable
from cc_backend.jobs.machine_states import MachineStates


@pytest.fixture
def states(tmp_path: Path) -> MachineStates:
    return MachineStates(tmp_path / "states")


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff no JSON", b"x" * 100_000])
def test_a_document_comes_back_as_it_was(states: MachineStates, tmp_path: Path, content: bytes) -> None:
    states.store("tern", "tn01", b"before")
    states.store("tern", "tn01", content)
    assert states.load("tern", "tn01").content == content
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["states/tern/tn01.json"]


def test_hosts_and_clusters_are_apart(states: MachineStates) -> None:
    for cluster in ("tern", "skua"):
        for host in ("tn01", "tn02.example.org"):
            states.store(cluster, host, f"{cluster} {host}".encode())
    assert states.load("skua", "tn02.example.org").content == b"skua tn02.example.org"


@pytest.mark.parametrize("host", ["tn01", "x"])
def test_a_host_that_sent_none_has_none(states: MachineStates, host: str) -> None:
    with pytest.raises(NotFound):
        states.load("tern", host)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc/passwd",
        ".hidden",
        "a..b",
        "a\0",
        "a\n",
        "x" * 201,
        "ä",
        "a b",
        "%2e",
    ],
)
def test_no_name_leads_out_of_the_folder(states: MachineStates, tmp_path: Path, name: str) -> None:
    for cluster, host in (("tern", name), (name, "tn01")):
        with pytest.raises(InvalidInput):
            states.store(cluster, host, b"x")
        with pytest.raises(InvalidInput):
            states.load(cluster, host)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_hosts_is_limited_but_known_ones_may_still_send(
    states: MachineStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobs.machine_states.MAX_HOSTS", 2)
    for host in ("tn01", "tn02"):
        states.store("tern", host, b"x")
    with pytest.raises(TooLarge):
        states.store("tern", "tn03", b"x")
    states.store("tern", "tn02", b"y")
    assert states.load("tern", "tn02").content == b"y"


def test_a_folder_that_cannot_be_used_is_unavailable_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "states").write_text("a file in its place")
    states = MachineStates(tmp_path / "states")
    for act in (lambda: states.store("tern", "tn01", b"x"), lambda: states.load("tern", "tn01")):
        with pytest.raises(Unavailable) as caught:
            act()
        assert str(tmp_path) not in caught.value.public_message
