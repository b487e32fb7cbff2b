import math
import threading
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from cc_backend.archive import number_text
from cc_backend.archive.number_text import fixed2, json_array, json_array_native, json_array_numpy

Write = Callable[[Any], bytes]


@pytest.fixture(params=["numpy", "native"])
def write(request: pytest.FixtureRequest) -> Write:
    if request.param == "native" and not number_text.NATIVE:
        pytest.skip("the C part was not built")
    return json_array_native if request.param == "native" else json_array_numpy


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (3, "3.00"),
        (9.99, "9.99"),
        (9.999, "10.00"),
        (99.995, "100.00"),
        (0.005, "0.00"),  # as a 32-bit float it is a little less than the half
        (-0.005, "0.00"),
        (0.125, "0.13"),
        (-0.125, "-0.13"),
        (0.375, "0.38"),
        (1.2345, "1.23"),
        (16777217.0, "16777216.00"),  # the first integer that 32 bits cannot hold
        (1e10, "10000000000.00"),
        (-1e-45, "0.00"),
        (3.4028235e38, "340282346638528859811704183484516925440.00"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
    ],
)
def test_32_bit_floats_are_written_with_two_decimals(write: Write, value: float, text: str) -> None:
    assert write(np.array([value], np.float32)) == f"[{text}]".encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.005, "0.01"),
        (-0.005, "-0.01"),
        (0.004999999999999999, "0.00"),
        (1.005, "1.00"),
        (-0.001, "0.00"),
        (5e-324, "0.00"),
        (999999999999.99, "999999999999.99"),
        (1e12, "1000000000000.00"),
        (1e12 + 0.125, "1000000000000.12"),  # from here on halves go to the even neighbour
        (1e12 + 0.375, "1000000000000.38"),
        (2.0**53, "9007199254740992.00"),
        (2.0**64, "18446744073709551616.00"),
        (-1e22, "-10000000000000000000000.00"),
        (-1.7976931348623157e308, f"-{int(1.7976931348623157e308)}.00"),
    ],
)
def test_64_bit_floats_are_written_with_two_decimals(write: Write, value: float, text: str) -> None:
    assert write(np.array([value], np.float64)) == f"[{text}]".encode()


def test_an_array_is_written_in_its_order(write: Write) -> None:
    assert write(np.array([1.0, np.nan, -2.555])) == b"[1.00,null,-2.56]"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_empty_array_is_written_empty(write: Write, dtype: Any) -> None:
    assert write(np.zeros(0, dtype)) == b"[]"


def test_an_array_of_gaps_is_nulls(write: Write) -> None:
    assert write(np.full(3, np.nan, np.float32)) == b"[null,null,null]"


def test_every_layout_of_an_array_is_taken(write: Write) -> None:
    numbers = np.arange(6.0)
    unaligned = np.frombuffer(b"x" + numbers.tobytes(), np.float64, offset=1)
    read_only = numbers.copy()
    read_only.flags.writeable = False
    for array in (numbers, unaligned, read_only, np.repeat(numbers, 2)[::2]):
        assert write(array) == b"[0.00,1.00,2.00,3.00,4.00,5.00]"


def test_numbers_much_longer_than_usual_find_room(write: Write) -> None:
    numbers = np.full(1000, -1.7976931348623157e308)
    numbers[:900] = 1.0
    text = write(numbers)
    assert len(text) == 900 * len("1.00,") + 100 * len("-.00,") + 100 * 309 + 1
    assert orjson.loads(text) == numbers.tolist()


def test_other_threads_run_while_many_numbers_are_written() -> None:
    if not number_text.NATIVE:
        pytest.skip("the C part was not built")
    numbers = np.random.default_rng(1).normal(0, 1e6, 200_000)
    texts: list[bytes] = []
    threads = [threading.Thread(target=lambda: texts.append(json_array_native(numbers))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [json_array_numpy(numbers)] * 4


@pytest.mark.skipif(not number_text.NATIVE, reason="the C part was not built")
class TestWhatTheNativePartRefuses:
    """The wrapper never hands it such arrays; it must not read them wrongly all the same."""

    @pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float16, np.longdouble, ">f4", ">f8", "S8", np.complex64])
    def test_other_types(self, dtype: Any) -> None:
        part: Any = number_text._numbers
        with pytest.raises(ValueError, match="native 32-bit or 64-bit"):
            part.json_array(np.zeros(2, dtype))

    def test_bytes_without_a_type(self) -> None:
        part: Any = number_text._numbers
        with pytest.raises(ValueError, match="native 32-bit or 64-bit"):
            part.json_array(bytes(8))

    def test_no_buffer(self) -> None:
        part: Any = number_text._numbers
        with pytest.raises(TypeError):
            part.json_array([1.0])

    def test_gaps_between_numbers(self) -> None:
        part: Any = number_text._numbers
        with pytest.raises(ValueError, match="contiguous"):
            part.json_array(np.zeros(4)[::2])

    def test_numbers_between_the_places_of_numbers(self) -> None:
        part: Any = number_text._numbers
        with pytest.raises(ValueError, match=r"aligned|native 32-bit or 64-bit"):
            part.json_array(np.frombuffer(bytes(17), np.float64, offset=1))


def test_without_the_c_part_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_text, "NATIVE", False)
    monkeypatch.setattr(number_text, "_numbers", None)
    assert json_array(np.array([0.125])) == b"[0.13]"


@pytest.mark.parametrize(("value", "text"), [(0.005, "0.01"), (math.nan, "0.00"), (math.inf, "0.00"), (7, "7.00")])
def test_single_numbers_are_written_with_full_precision(value: float, text: str) -> None:
    assert fixed2(value) == text


@given(st.integers(-(10**9), 10**9))
def test_exact_halves_agree_with_decimal_arithmetic(eighths: int) -> None:
    value = eighths / 8
    exact = Decimal(eighths) / 8
    text = str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP)).replace("-0.00", "0.00")
    assert fixed2(value) == text
    assert json_array(np.array([value])) == f"[{text}]".encode()


@given(st.floats(1e12, 1e20))
def test_large_numbers_keep_their_own_digits_halves_going_to_the_even_neighbour(value: float) -> None:
    text = str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_EVEN))
    assert json_array(np.array([value])) == f"[{text}]".encode()


@given(st.floats(1e20, allow_infinity=False))
def test_huge_numbers_are_written_with_all_their_digits(value: float) -> None:
    assert json_array(np.array([value])) == f"[{int(value)}.00]".encode()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_what_was_written_once_is_written_the_same_after_reading(value: float) -> None:
    text = json_array(np.array([value], np.float32))
    assert json_array(np.array(orjson.loads(text), np.float32)) == text


@given(st.lists(st.floats(), max_size=30))
def test_an_array_is_its_numbers_one_by_one(values: list[float]) -> None:
    texts = [fixed2(value) if math.isfinite(value) else "null" for value in values]
    assert json_array(np.array(values, np.float64)) == f"[{','.join(texts)}]".encode()


def bits(kind: Any) -> st.SearchStrategy[Any]:
    """Vectors of any bit patterns, signalling NaN and denormals among them."""
    size = np.dtype(kind).itemsize
    words = st_numpy.arrays(f"u{size}", st.integers(0, 40), elements=st.integers(0, 2 ** (8 * size) - 1))
    return words.map(lambda array: array.view(kind))


@st.composite
def beside_halves(draw: st.DrawFn) -> Any:
    """Doubles at thousandths and up to two steps beside them."""
    thousandths = np.array(draw(st.lists(st.integers(-(10**15), 10**15), max_size=30)), np.float64) / 1000
    for _ in range(draw(st.integers(0, 2))):
        thousandths = np.nextafter(thousandths, draw(st.sampled_from([-np.inf, np.inf])))
    return thousandths


@pytest.mark.skipif(not number_text.NATIVE, reason="the C part was not built")
@given(
    st.one_of(
        bits(np.float32),
        bits(np.float64),
        beside_halves(),
        beside_halves().map(lambda array: array.astype(np.float32)),
        st_numpy.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)),
        st_numpy.arrays(np.float64, st.integers(0, 40)),
    )
)
def test_both_writers_write_the_same_bytes(values: Any) -> None:
    assert json_array_native(values) == json_array_numpy(values)


@pytest.mark.skipif(not number_text.NATIVE, reason="the C part was not built")
@pytest.mark.parametrize("seed", range(4))
def test_both_writers_write_the_same_bytes_for_many_bit_patterns(seed: int) -> None:
    random = np.random.default_rng(seed)
    patterns = random.integers(0, 2**32, 50_000, np.uint32).view(np.float32)
    halves = random.integers(-(10**7), 10**7, 50_000) * 0.005
    wide = random.integers(0, 2**64, 20_000, np.uint64).view(np.float64)
    between = random.uniform(1e11, 2.0**54, 20_000)
    for values in (patterns, halves, halves.astype(np.float32), wide, between):
        assert json_array_native(values) == json_array_numpy(values)
