import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.ingest.identity import Rejection
from cc_backend.metricstore.ingest.key_cache import (
    MAX_CACHED_KEY_BYTES,
    DictKeyCache,
    KeyCache,
    is_cacheable_key,
    rejection_code,
    rejection_reason,
)
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE, KernelName, NativeKeyCache, new_key_cache
from cc_backend.metricstore.model import Identity, RejectReason

pytestmark = pytest.mark.parametrize(
    "kernel",
    ["python", pytest.param("c", marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))],
)


class Resolver:
    """Keys that begin with `x` are refused, others lead to the series of their length; remembers if it is told to."""

    def __init__(self, *, remembers: bool = True) -> None:
        self.asked: list[bytes] = []
        self.remembers = remembers

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Rejection:
        if series.startswith(b"x"):
            return Rejection(RejectReason.BAD_NAME, "it begins with x")
        return Identity(default_cluster, "host", "load")

    def intern(self, cache: KeyCache, series: bytes, default_cluster: str) -> int:
        self.asked.append(series)
        found = self.resolve(series, default_cluster)
        code = rejection_code(found.reason) if isinstance(found, Rejection) else len(series)
        if self.remembers:
            cache.remember(series, code)
        return code


def known(kernel: KernelName) -> tuple[KeyCache, Resolver]:
    resolver = Resolver()
    return new_key_cache(resolver, "demo", kernel), resolver


def flags(*wanted: int) -> np.ndarray:
    every = np.zeros(100, np.bool_)
    every[list(wanted)] = True
    return every


def test_a_key_is_resolved_once(kernel: KernelName) -> None:
    cache, resolver = known(kernel)
    assert [cache.find(b"abc"), cache.find(b"abc"), cache.find(b"x")] == [3, 3, -7]
    assert rejection_reason(-7) is RejectReason.BAD_NAME
    assert resolver.asked == [b"abc", b"x"]
    assert len(cache) == 2
    assert cache.sids().tolist() == [3]


def test_what_the_resolver_does_not_remember_is_asked_again(kernel: KernelName) -> None:
    resolver = Resolver(remembers=False)
    cache = new_key_cache(resolver, "demo", kernel)
    assert [cache.find(b"abc"), cache.find(b"abc")] == [3, 3]
    assert resolver.asked == [b"abc", b"abc"]
    assert len(cache) == 0


def test_refusals_can_be_forgotten_alone(kernel: KernelName) -> None:
    cache, resolver = known(kernel)
    for key in (b"abc", b"x", b"xx"):
        cache.find(key)
    cache.forget_rejected()
    assert len(cache) == 1
    assert [cache.find(b"abc"), cache.find(b"xx")] == [3, -7]
    assert resolver.asked == [b"abc", b"x", b"xx", b"xx"]


def test_of_kept_series_all_keys_stay_and_of_others_none(kernel: KernelName) -> None:
    cache, resolver = known(kernel)
    for key in (b"abc", b"cba", b"four", b"xyz"):
        cache.find(key)
    cache.keep(flags(3))
    resolver.asked.clear()
    assert sorted(cache.sids().tolist()) == [3, 3]
    assert [cache.find(key) for key in (b"abc", b"cba", b"four", b"xyz")] == [3, 3, 4, -7]
    assert resolver.asked == [b"four", b"xyz"]


def test_series_beyond_the_flags_are_not_kept(kernel: KernelName) -> None:
    cache, _ = known(kernel)
    if kernel == "python":
        pytest.skip("the flags have an entry per sid; the C kernel does not rely on it")
    cache.find(b"abc")
    cache.keep(flags(3)[:3])
    assert len(cache) == 0


def test_keys_that_come_after_others_were_forgotten_take_no_room_of_those_that_stay(kernel: KernelName) -> None:
    """The C kernel keeps keys in pieces of 256 KiB; after the second one goes, the first one is filled on."""
    cache, resolver = known(kernel)

    def key(sid: int) -> bytes:
        return b"load,hostname=n%d,text=" % sid + b"a" * 200

    for sid in range(1200):
        cache.remember(key(sid), sid)
    wanted = np.ones(1200, np.bool_)
    wanted[1000:] = False
    cache.keep(wanted)
    for sid in range(1200, 1400):
        cache.remember(key(sid), sid)
    assert [cache.find(key(sid)) for sid in range(1000)] == list(range(1000))
    assert [cache.find(key(sid)) for sid in range(1200, 1400)] == list(range(1200, 1400))
    assert not resolver.asked


@pytest.mark.parametrize(
    "key",
    [b"", b"#a", b" a", b"\ta", b"\ra", b"a b", b"a\nb", b"a\\", b"\n", b"a" * (MAX_CACHED_KEY_BYTES + 1)],
)
def test_bytes_that_no_line_can_begin_with_are_not_remembered(key: bytes, kernel: KernelName) -> None:
    cache, _ = known(kernel)
    assert not is_cacheable_key(key)
    with pytest.raises(ValueError, match="no line can begin"):
        cache.remember(key, 5)
    assert len(cache) == 0


@pytest.mark.parametrize("key", [b"a", b"\\ a", b"a\\ b", b"\\\\ a", b"a\\b", b"\xff\x00", b"a" * MAX_CACHED_KEY_BYTES])
def test_keys_with_escapes_and_any_bytes_are_remembered(key: bytes, kernel: KernelName) -> None:
    cache, resolver = known(kernel)
    assert is_cacheable_key(key)
    cache.remember(key, 5)
    assert cache.find(key) == 5
    assert not resolver.asked


def test_what_is_remembered_is_not_changed(kernel: KernelName) -> None:
    cache, _ = known(kernel)
    for key, code in ((b"a", 5), (b"x", -7)):
        cache.remember(key, code)
        for other in (code, 6, -1):
            with pytest.raises(ValueError, match="remembered already"):
                cache.remember(key, other)
        assert cache.find(key) == code


def test_refusals_are_explained(kernel: KernelName) -> None:
    cache, _ = known(kernel)
    assert cache.rejection_text(b"xy") == "it begins with x"
    assert cache.rejection_text(b"ab") == ""


def test_memory_is_given_back(kernel: KernelName) -> None:
    cache, _ = known(kernel)
    empty = cache.size_bytes
    for number in range(20_000):
        cache.remember(b"a_key_of_some_length_that_differs_in_its_end_%06d" % number, number % 100)
        cache.remember(b"x_key_of_some_length_that_differs_in_its_end_%06d" % number, -1)
    full = cache.size_bytes
    assert full - empty > 40_000 * 50
    cache.forget_rejected()
    assert cache.size_bytes < full
    cache.keep(flags(*range(100)))
    assert len(cache) == 20_000
    cache.keep(flags(1))
    assert len(cache) == 200
    assert cache.size_bytes < empty + 300_000


keys = st.binary(min_size=1, max_size=12).map(lambda key: key + b".").filter(is_cacheable_key)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), keys, st.integers(-11, 99)),
        st.tuples(st.just("find"), keys),
        st.tuples(st.just("forget")),
        st.tuples(st.just("keep"), st.sets(st.integers(0, 99), max_size=60)),
    ),
    max_size=80,
)


@given(steps)
def test_it_behaves_like_a_dictionary(kernel: KernelName, taken: list[tuple[object, ...]]) -> None:
    cache = new_key_cache(Resolver(remembers=False), "demo", kernel)
    model: dict[bytes, int] = {}
    for step in taken:
        match step:
            case ("remember", bytes() as key, int() as code):
                if key not in model:
                    cache.remember(key, code)
                    model[key] = code
            case ("find", bytes() as key):
                expected = model.get(key, -7 if key.startswith(b"x") else len(key))
                assert cache.find(key) == expected
            case ("forget",):
                cache.forget_rejected()
                model = {key: code for key, code in model.items() if code >= 0}
            case ("keep", set() as wanted):
                cache.keep(flags(*wanted))
                model = {key: code for key, code in model.items() if code in wanted}
        assert len(cache) == len(model)
        assert sorted(cache.sids().tolist()) == sorted(code for code in model.values() if code >= 0)
    assert all(cache.find(key) == code for key, code in model.items())


def test_the_kernel_that_is_asked_for_is_taken(kernel: KernelName) -> None:
    cache, _ = known(kernel)
    assert isinstance(cache, NativeKeyCache if kernel == "c" else DictKeyCache)


def test_while_a_batch_is_read_others_learn_the_size_and_nothing_else(kernel: KernelName) -> None:
    if kernel == "python":
        pytest.skip("batches are read by the interpreter, one step at a time")
    seen: list[object] = []

    class Meanwhile(Resolver):
        def intern(self, cache: KeyCache, series: bytes, default_cluster: str) -> int:
            thread = threading.Thread(target=another, args=(cache,))
            thread.start()
            thread.join()
            assert cache.find(b"known") == 5  # who reads may look up
            with pytest.raises(RuntimeError):
                cache.keep(flags(5))
            with pytest.raises(RuntimeError):
                cache.read_batch(b"known value=1 17", 0)  # type: ignore[attr-defined]  # of the C kernel
            return super().intern(cache, series, default_cluster)

    def another(cache: KeyCache) -> None:
        seen.append(len(cache))
        seen.append(cache.size_bytes > 0)
        for call in (lambda: cache.find(b"known"), cache.forget_rejected, cache.sids):
            try:
                call()
            except RuntimeError as error:
                seen.append(str(error))

    cache = NativeKeyCache(Meanwhile(), "demo")
    cache.remember(b"known", 5)
    for filling in (b"", b"# a long comment, so that the lock of the interpreter is given up\n" * 5000):
        seen.clear()
        key = b"n" * (3 if filling else 4)
        read = cache.read_batch(filling + b"known value=1 17\n" + key + b" value=2 17", 0)
        assert np.frombuffer(read.sids, np.int64).tolist() == [5, len(key)]
        assert seen == [1 if not filling else 2, True, *["the table is in use: a batch is being read"] * 3]


def test_a_resolver_that_fails_ends_the_batch_and_leaves_the_table_in_order(kernel: KernelName) -> None:
    if kernel == "python":
        pytest.skip("there is no foreign code to come back from")

    class Failing(Resolver):
        def intern(self, cache: KeyCache, series: bytes, default_cluster: str) -> int:
            if series == b"no":
                raise LookupError("no")
            if series == b"huge":
                return 2**40
            if series == b"none":
                return -99
            return super().intern(cache, series, default_cluster)

    cache = NativeKeyCache(Failing(), "demo")
    for bad, error in ((b"no", LookupError), (b"huge", ValueError), (b"none", ValueError)):
        for filling in (b"", b"#" * 300_000 + b"\n"):
            with pytest.raises(error):
                cache.read_batch(filling + b"yes value=1 17\n" + bad + b" value=1 17", 0)
            assert cache.find(b"yes") == 3
            assert len(cache) == 1
