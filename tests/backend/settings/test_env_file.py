"""`.env` beside the configuration file, as the reference writes and reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.settings import BackendSettings, load_settings
from cc_backend.settings.env_file import MAX_BYTES, parse_env, read_env
from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings, format_settings


def parsed(text: str) -> dict[str, str]:
    return parse_env(text, source=".env")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("KEY=abc", "abc"),
        ("KEY = abc ", "abc"),
        ("export KEY=abc", "abc"),
        ("\texport  KEY\t=\tabc", "abc"),
        ("KEY: abc", "abc"),
        ("KEY=", ""),
        ("KEY= # nothing", ""),
        ("KEY=#abc", "#abc"),
        ("KEY=abc#def", "abc#def"),
        ("KEY=abc # a comment", "abc"),
        ("KEY=kzfY+Y/P0==", "kzfY+Y/P0=="),
        ("KEY=a=b=c", "a=b=c"),
        ('KEY="abc"', "abc"),
        ('KEY="abc" # a comment', "abc"),
        ('KEY="a # b"', "a # b"),
        ('KEY="a\\"b\\\\c\\nd"', 'a"b\\c\nd'),
        ("KEY='a\\n\"b'", 'a\\n"b'),
        ('KEY="two\nlines"', "two\nlines"),
        ("KEY='two\nlines'\nOTHER=1", "two\nlines"),
        ("KEY=pa$$word", "pa$$word"),
        ('KEY="$HOME"', "$HOME"),
        ("KEY=${HOME}", "${HOME}"),
        ("KEY=abc\r\n", "abc"),
        ('KEY="abc"\r\n', "abc"),
        ("\ufeffKEY=abc".lstrip("\ufeff"), "abc"),
        ("# KEY=no\n\n  # KEY=no\nKEY=abc", "abc"),
        ("KEY=first\nKEY=last", "last"),
        ("KEY=ü", "ü"),
        ("KEY=abc\n   ", "abc"),
    ],
)
def test_a_value(text: str, value: str) -> None:
    assert parsed(text)["KEY"] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("KEY", ":1: is not of the form NAME=value"),
        ("A=1\n\n1KEY=abc", ":3: is not of the form NAME=value"),
        ("=abc", ":1: is not of the form NAME=value"),
        ("set -e", ":1: is not of the form NAME=value"),
        ("KÉY=1", ":1: is not of the form NAME=value"),
        ('KEY="abc', ':1: has an opening " that is never closed'),
        ("A=1\nKEY='abc\n", ":2: has an opening ' that is never closed"),
        ('KEY="abc\\', 'has an opening " that is never closed'),
        ('KEY="abc"def', ':1: has something after the closing "'),
        ('KEY="a\nb" c', ':2: has something after the closing "'),
    ],
)
def test_a_line_that_is_none_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(text)
    assert words in str(caught.value)


@given(st.text(max_size=300))
def test_whatever_it_says_it_is_read_or_refused_with_its_line(text: str) -> None:
    told = ""
    try:
        values = parsed(text)
    except SettingsError as error:
        told, values = str(error), {}
    assert told.startswith(".env:") or all(isinstance(value, str) for value in values.values())


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.text(max_size=40), max_size=5))
def test_what_is_written_in_double_quotes_comes_back(values: dict[str, str]) -> None:
    lines = [
        f'{key}="{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for key, value in values.items()
    ]
    assert parsed("\n".join(lines)) == values


def test_blanks_without_end_take_no_time() -> None:
    assert parsed("KEY=" + " " * 60_000 + "x")["KEY"] == "x"
    with pytest.raises(SettingsError):
        parsed(" " * 60_000 + "x")


class TestTheFile:
    def load(self, folder: Path, text: str, mode: int = 0o600, **environment: str) -> LoadedSettings[BackendSettings]:
        (folder / "config.json").write_text(json.dumps({}), "utf-8")
        (folder / ".env").write_text(text, "utf-8")
        (folder / ".env").chmod(mode)
        return load_settings(folder / "config.json", environment=environment)

    def test_the_keys_of_tokens_are_taken_from_it(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, 'JWT_PUBLIC_KEY="pub"\nJWT_PRIVATE_KEY="a secret"\n')
        assert (loaded.value.auth.jwts.public_key, loaded.value.auth.jwts.private_key) == ("pub", "a secret")
        assert loaded.origins["auth.jwts.public-key"] == f"{tmp_path}/.env, JWT_PUBLIC_KEY"
        assert "a secret" not in format_settings(loaded)

    def test_the_environment_wins(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, "CC_BACKEND_ADDR=localhost:1\n", CC_BACKEND_ADDR="localhost:2")
        assert loaded.value.main.addr == "localhost:2"
        assert loaded.origins["main.addr"] == "environment CC_BACKEND_ADDR"

    def test_an_empty_value_is_none(self, tmp_path: Path) -> None:
        assert self.load(tmp_path, 'CC_BACKEND_ADDR=""\n').value.main.addr == "localhost:8080"

    def test_a_wrong_value_is_told_with_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"main": {"threads": 0}}), "utf-8")
        with pytest.raises(SettingsError, match="at least 1"):
            load_settings(tmp_path / "config.json", environment={})

    def test_variables_of_the_reference_without_use_are_told(self, tmp_path: Path) -> None:
        loaded = self.load(tmp_path, 'SESSION_KEY="67d8"\nLDAP_ADMIN_PASSWORD="mashup"\nOID_CLIENT_ID=\n')
        assert [warning.removeprefix(f"{tmp_path}/.env: ").split(":")[0] for warning in loaded.warnings] == [
            "SESSION_KEY",
            "LDAP_ADMIN_PASSWORD",
        ]
        assert "mashup" not in str(loaded.warnings)

    def test_a_file_that_everybody_can_read_is_told(self, tmp_path: Path) -> None:
        assert "chmod 0600" in str(self.load(tmp_path, "JWT_PRIVATE_KEY=priv\n", mode=0o644).warnings)
        assert self.load(tmp_path, "# nothing\n", mode=0o644).warnings == ()

    @pytest.mark.parametrize(
        ("content", "words"), [(b"\xff", "is not UTF-8"), (b"#" * (MAX_BYTES + 1), "is larger than 65536 bytes")]
    )
    def test_what_cannot_be_read_is_one_line(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / ".env").write_bytes(content)
        with pytest.raises(SettingsError, match=words):
            read_env(tmp_path / ".env")

    def test_a_folder_of_that_name_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        with pytest.raises(SettingsError, match="Is a directory"):
            read_env(tmp_path / ".env")

    def test_without_one_nothing_is_said(self, tmp_path: Path) -> None:
        assert read_env(tmp_path / ".env") == ({}, [])


def test_the_metric_store_reads_it_too(tmp_path: Path) -> None:
    from cc_backend.storeservice.settings import load_settings as load_store_settings  # noqa: PLC0415 - of this test

    document: dict[str, Any] = {"main-file": "main.json", "metrics": {"load": {"frequency": 60}}}
    (tmp_path / "config.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "main.json").write_text(json.dumps({"addr": "localhost:9"}), "utf-8")
    (tmp_path / ".env").write_text("JWT_PUBLIC_KEY=pub\n", "utf-8")
    loaded = load_store_settings(tmp_path / "config.json", environment={})
    assert (loaded.value.main.addr, loaded.value.main.jwt_public_key) == ("localhost:9", "pub")
