import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.loadavg import parse_loadavg


def test_all_five_values_are_read() -> None:
    assert parse_loadavg(b"0.20 1.18 12.12 3/80 11206\n") == {
        "load_one": 0.20,
        "load_five": 1.18,
        "load_fifteen": 12.12,
        "proc_run": 3,
        "proc_total": 80,
    }


@pytest.mark.parametrize("text", [b"", b"0.1 0.2 0.3", b"0.1 0.2 0.3 4 5", b"a b c 1/2 3", b"0.1 0.2 0.3 x/2 3"])
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"unknown form|could not convert|invalid literal"):
        parse_loadavg(text)


@given(st.lists(st.integers(0, 10**7), min_size=3, max_size=3), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_written_is_read(loads: list[int], running: int, total: int) -> None:
    texts = [f"{load / 100:.2f}" for load in loads]
    values = parse_loadavg(f"{' '.join(texts)} {running}/{total} 1\n".encode())
    assert list(values.values()) == [*map(float, texts), running, total]
