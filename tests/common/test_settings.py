"""Settings: declared once; loaded, checked, shown and documented from that."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import SettingsError
from cc_common.settings import (
    format_duration,
    format_settings,
    load,
    named_sections,
    option,
    parse_duration,
    read_json,
    reference_page,
    required,
    section,
    sections,
)


@dataclass(frozen=True)
class Peer:
    url: str = required("Where to send.")
    jwt: str = option("", "Token.", secret=True, env="PEER_JWT")
    timeout_s: float = option(5.0, "Longest wait.", key="timeout", kind="duration", minimum=0.1, maximum=3600)


@dataclass(frozen=True)
class Keep:
    policy: str = option("none", "What to do.", choices=("none", "delete", "move"))
    age_days: int = option(7, "How long.", minimum=0)
    target: str = option("./old", "Where to.", kind="path")

    def __post_init__(self) -> None:
        if self.policy == "move" and not self.target:
            raise SettingsError("target", "is needed to move anything")


@dataclass(frozen=True)
class Settings:
    addr: str = required("Address.", env="ADDR")
    workers: int = option(2, "Threads.", minimum=1, maximum=64)
    ratio: float = option(0.5, "A share.")
    debug: bool = option(default=False, help="Talk more.")
    limit: Optional[int] = option(10, "None = no limit.")
    hosts: Tuple[str, ...] = option((), "Names.")
    ports: Tuple[int, ...] = option((), "Numbers.")
    labels: Mapping[str, str] = option({}, "Words.")
    free: Mapping[str, Any] = option({}, "Not checked.")
    snake_case: str = option("", "Of an older system.", key="snake_case")
    keep: Keep = section(Keep, "What is kept.")
    extra: Optional[Keep] = section(Keep, "Only if given.", optional=True)
    peers: Tuple[Peer, ...] = sections(Peer, "Whom to send to.")
    named: Mapping[str, Peer] = named_sections(Peer, "By name.")


def load_settings(document: Mapping[str, Any], **more: Any) -> Settings:
    return load(Settings, {"addr": "a", **document}, source="cfg.json", **more).value


def error_of(document: Mapping[str, Any], **more: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(Settings, {"addr": "a", **document}, source="cfg.json", **more)
    return caught.value


def test_an_empty_document_gives_the_defaults() -> None:
    assert load_settings({}) == Settings(addr="a")


def test_values_of_all_shapes_are_read() -> None:
    settings = load_settings(
        {
            "workers": 4,
            "ratio": 1,
            "debug": True,
            "hosts": ["x", "y"],
            "ports": [1, 2],
            "labels": {"a": "b"},
            "free": {"deep": [1, {"x": None}]},
            "snake_case": "s",
            "keep": {"policy": "delete", "age-days": 30},
            "peers": [{"url": "u1", "timeout": "1m30s"}, {"url": "u2", "timeout": 2}],
            "named": {"first": {"url": "u3"}},
        }
    )
    assert settings == Settings(
        addr="a",
        workers=4,
        ratio=1.0,
        debug=True,
        hosts=("x", "y"),
        ports=(1, 2),
        labels={"a": "b"},
        free={"deep": [1, {"x": None}]},
        snake_case="s",
        keep=Keep("delete", 30),
        peers=(Peer("u1", timeout_s=90.0), Peer("u2", timeout_s=2.0)),
        named={"first": Peer("u3")},
    )


@pytest.mark.parametrize(
    ("document", "key", "words"),
    [
        ({"wokers": 1}, "wokers", "did you mean 'workers'"),
        ({"keep": {"polcy": "x"}}, "keep.polcy", "did you mean 'policy'"),
        ({"xyzzy": 1}, "xyzzy", "there is no such setting"),
        ({"peers": [{"url": "u"}, {"ulr": "u"}]}, "peers[1].ulr", "did you mean 'url'"),
        ({"named": {"n": {"url": "u", "q": 1}}}, "named.n.q", "no such setting"),
        ({"workers": "4"}, "workers", 'must be an integer, not "4"'),
        ({"workers": 4.5}, "workers", "must be an integer, not 4.5"),
        ({"workers": True}, "workers", "must be an integer, not true"),
        ({"workers": 0}, "workers", "must be at least 1"),
        ({"workers": 65}, "workers", "must be at most 64"),
        ({"ratio": "x"}, "ratio", "must be a number"),
        ({"ratio": 10**400}, "ratio", "must be a finite number"),
        ({"debug": 1}, "debug", "must be true or false"),
        ({"addr": 1}, "addr", "must be a string, not 1"),
        ({"hosts": "x"}, "hosts", "must be a list"),
        ({"hosts": ["x", 1]}, "hosts[1]", "must be a string, not 1"),
        ({"labels": {"a": 1}}, "labels.a", "must be a string"),
        ({"labels": []}, "labels", "must be an object"),
        ({"free": 1}, "free", "must be an object"),
        ({"keep": []}, "keep", "must be an object, not a list"),
        ({"keep": {"policy": "burn"}}, "keep.policy", 'must be one of "none", "delete", "move"'),
        ({"keep": {"policy": "move", "target": ""}}, "keep.target", "is needed to move anything"),
        ({"peers": {}}, "peers", "must be a list of objects"),
        ({"peers": [{}]}, "peers[0].url", "is required and missing"),
        ({"peers": [{"url": "u", "timeout": "5"}]}, "peers[0].timeout", "must be a duration"),
        ({"peers": [{"url": "u", "timeout": "1ms"}]}, "peers[0].timeout", "must be at least 0.1"),
        ({"named": []}, "named", "must be an object of objects"),
    ],
)
def test_a_mistake_is_named_by_its_dotted_key_and_what_would_be_right(document: Any, key: str, words: str) -> None:
    error = error_of(document)
    assert error.key == key
    assert str(error).startswith(f"cfg.json: {key}: ")
    assert words in str(error)


def test_a_required_setting_that_is_missing_names_the_other_ways_to_give_it() -> None:
    with pytest.raises(SettingsError, match="environment variable ADDR"):
        load(Settings, {}, source="cfg.json")


def test_null_means_the_default_except_where_none_is_a_value() -> None:
    settings = load_settings({"workers": None, "limit": None, "keep": None, "peers": None, "named": None})
    assert settings == Settings(addr="a", limit=None)


def test_an_optional_section_is_none_unless_given() -> None:
    assert load_settings({}).extra is None
    assert load_settings({"extra": {}}).extra == Keep()


def test_command_line_beats_environment_beats_file_beats_default() -> None:
    loaded = load(
        Settings,
        {"workers": 3, "addr": "file"},
        source="cfg.json",
        environment={"ADDR": "environment"},
        overrides={"workers": "5", "debug": None},
    )
    assert (loaded.value.addr, loaded.value.workers, loaded.value.debug) == ("environment", 5, False)
    assert loaded.origins["addr"] == "environment ADDR"
    assert loaded.origins["workers"] == "command line"
    assert loaded.origins["ratio"] == "default"


def test_an_empty_environment_variable_counts_as_not_set() -> None:
    assert load_settings({"addr": "file"}, environment={"ADDR": ""}).addr == "file"


@pytest.mark.parametrize(
    ("key", "text", "name", "value"),
    [
        ("debug", "yes", "debug", True),
        ("debug", "off", "debug", False),
        ("ratio", "0.25", "ratio", 0.25),
        ("limit", "7", "limit", 7),
        ("hosts", "a, b,", "hosts", ("a", "b")),
        ("hosts", '["a,b"]', "hosts", ("a,b",)),
        ("ports", "1,2", "ports", (1, 2)),
        ("labels", '{"a": "b"}', "labels", {"a": "b"}),
        ("keep.age-days", "3", "keep", Keep(age_days=3)),
        ("extra.policy", "delete", "extra", Keep("delete")),
        ("named.new.url", "u", "named", {"new": Peer("u")}),
    ],
)
def test_texts_of_the_command_line_are_read_as_the_type_asks(key: str, text: str, name: str, value: Any) -> None:
    assert getattr(load_settings({}, overrides={key: text}), name) == value


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("keep.age-dys", "3", "did you mean 'keep.age-days'"),
        ("workers", "many", "must be an integer"),
        ("debug", "perhaps", "must be true or false"),
        ("labels", "a=b", "must be JSON"),
        ("workers", "0", "must be at least 1"),
    ],
)
def test_a_wrong_command_line_setting_is_named_as_such(key: str, text: str, words: str) -> None:
    error = error_of({}, overrides={key: text})
    assert str(error).startswith(f"command line: {key}: ")
    assert words in str(error)


def test_an_element_of_a_list_can_be_overridden() -> None:
    settings = load_settings({"peers": [{"url": "u"}]}, overrides={"peers[0].timeout": "9s"})
    assert settings.peers[0].timeout_s == 9.0


def test_keys_of_older_systems_warn_and_do_not_stop() -> None:
    loaded = load(
        Settings,
        {"addr": "a", "old": 1, "keep": {"volumes": []}},
        source="cfg.json",
        legacy={"old": "not needed any more", "keep.vol*": "use age-days"},
    )
    assert loaded.warnings == ("cfg.json: old: not needed any more", "cfg.json: keep.volumes: use age-days")


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    assert load_settings({"keep": {"target": "x/y"}}, base_directory=tmp_path).keep.target == str(tmp_path / "x/y")
    assert load_settings({"keep": {"target": "/x"}}, base_directory=tmp_path).keep.target == "/x"
    assert load_settings({}, base_directory=tmp_path).keep.target == str(tmp_path / "old")


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    loaded = load(
        Settings, {"addr": "a", "peers": [{"url": "u", "jwt-file": "token"}]}, source="c", base_directory=tmp_path
    )
    assert loaded.value.peers[0].jwt == "s3cret"
    assert loaded.origins["peers[0].jwt"] == f"file {path}"


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        (0o644, "x", "accessed by other users"),
        (0o602, "x", "accessed by other users"),
        (0o600, "\n", "empty"),
        (0, None, "cannot be read"),
    ],
)
def test_a_secret_file_that_is_open_empty_or_missing_is_rejected(
    tmp_path: Path, mode: int, content: Any, words: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    error = error_of({"peers": [{"url": "u", "jwt-file": str(path)}]})
    assert error.key == "peers[0].jwt-file"
    assert words in str(error)


def test_a_secret_given_twice_is_rejected(tmp_path: Path) -> None:
    assert "both given" in str(error_of({"peers": [{"url": "u", "jwt": "x", "jwt-file": "y"}]}))


def test_a_secret_in_a_file_that_all_can_read_gives_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    path.write_text("{}")
    path.chmod(0o644)
    document = {"addr": "a", "peers": [{"url": "u", "jwt": "x"}]}
    assert "everybody" in load(Settings, document, source=str(path)).warnings[0]
    path.chmod(0o600)
    assert load(Settings, document, source=str(path)).warnings == ()


def test_secrets_are_not_shown_anywhere() -> None:
    document = {
        "addr": "nats://user:hunter2@host",
        "free": {"password": "hunter2", "sinks": [{"api_key": "hunter2", "url": "http://u:hunter2@h"}]},
        "peers": [{"url": "u", "jwt": "hunter2"}],
    }
    loaded = load(Settings, document, source="cfg.json")
    assert "hunter2" not in format_settings(loaded)
    assert "hunter2" not in repr(loaded.value.peers)
    assert "hunter2" not in str(error_of({"peers": [{"url": "u", "jwt": ["hunter2"]}]}))
    assert "hunter2" not in str(error_of({"keep": "hunter2"}))


def test_values_are_shown_with_their_origin() -> None:
    lines = format_settings(
        load(Settings, {"addr": "a", "named": {"n": {"url": "u", "timeout": 90}}}, source="cfg.json")
    ).splitlines()
    assert 'addr = "a"   (cfg.json)' in lines
    assert "workers = 2   (default)" in lines
    assert "named.n.timeout = 1m30s   (cfg.json)" in lines


def test_the_reference_page_has_every_key_with_type_default_and_meaning() -> None:
    page = reference_page(Settings, title="Settings of something")
    assert page.startswith("# Settings of something\n")
    assert "| `workers` | integer | `2` | Threads. At least 1. At most 64. |" in page
    assert "| `addr` | string | required | Address. Environment: `ADDR`. |" in page
    assert "## `named.<name>`" in page
    assert "| `peers[].timeout` | duration | `5s` | Longest wait. At least 0.1. At most 3600. |" in page
    assert "`jwt-file` may name a file" in page


def test_a_field_that_is_not_declared_is_a_mistake_of_the_programmer() -> None:
    @dataclass(frozen=True)
    class Wrong:
        plain: int = field(default=1)

    with pytest.raises(TypeError, match=r"Wrong\.plain"):
        load(Wrong, {}, source="x")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1,}', ":1:"),
        (b'{\n "a" 1}', ":2:6: is not JSON"),
        (b"[]", "must hold an object"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "is not JSON"),
    ],
)
def test_a_file_that_is_no_good_json_is_named_with_line_and_column(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "cfg.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_json(tmp_path / "none.json")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("-2m", -120),
        ("+3s", 3),
        ("10us", 1e-5),
        (".5h", 1800),
    ],
)
def test_durations_are_read_in_go_notation(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1h 30m", "1h30", "-", "1s" * 40, "1e3s", "\u0661s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_that_is_shown_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-9)
