import importlib
import json
import sys
from typing import Any, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_slurm_adapter.sources import slurm_json


@pytest.fixture(params=["as installed", "standard library"])
def parse(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The reader with what is installed, and without the fast library."""
    if request.param == "standard library":
        monkeypatch.setitem(sys.modules, "orjson", None)
        importlib.reload(slurm_json)
    yield slurm_json.parse_slurm_json
    monkeypatch.undo()
    importlib.reload(slurm_json)


@pytest.mark.parametrize(
    "token",
    [
        *("NaN", "Infinity", "-Infinity", "nan", "-nan", "inf", "-inf", "+inf", "NAN", "INF", "infinity", "-Nan"),
        *(
            "nan(0x8000)",
            "N/A",
            "UNLIMITED",
            "INVALID",
            "Partition_Limit",
            "1.#INF",
            "0x10",
            "+5",
            "05",
            ".5",
            "1e9999",
        ),
        "9" * 5000,
    ],
)
def test_a_token_that_is_no_json_costs_its_field_and_nothing_else(parse: Any, token: str) -> None:
    text = f'{{"name":"x, {token}, y","a":{token},"b":[{token},1,{token}],"c":{{"d":{token}}},"e":2}}'
    document = parse(text.encode())
    assert (document["name"], document["e"], document["b"][1]) == (f"x, {token}, y", 2, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": nan, "b": "\\\\", "c": inf}', {"a": None, "b": "\\", "c": None}),
        (b'{"a": nan, "b": "say \\"inf\\", nan"}', {"a": None, "b": 'say "inf", nan'}),
        (b'{"a": nan, "b": -0.5e-3, "c": true, "d": null}', {"a": None, "b": -0.0005, "c": True, "d": None}),
        (b'{"name": "caf\xe9"}', {"name": "caf\ufffd"}),
        (b'{"a": 1} trailing words', {"a": 1}),
        (b'{"name": "a\tb"}', {"name": "a\tb"}),
    ],
)
def test_what_is_beside_it_is_read_as_it_is(parse: Any, text: bytes, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": nan', b'{"a" nan}', b'"abc', b"[" * 100_000, b'{"a":' * 5000])
def test_what_is_cut_or_nested_without_end_is_an_error(parse: Any, text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 its text is that of a library
        parse(text)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(), st.lists))
def test_whatever_python_writes_is_read_back(value: Any) -> None:
    read = slurm_json.parse_slurm_json(json.dumps([value]).encode())
    assert isinstance(read, list)
