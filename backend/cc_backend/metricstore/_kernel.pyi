# Described in native/lines.h and kernelmodule.c.
from collections.abc import Callable
from typing import Any, final

from numpy.typing import NDArray

@final
class Table:
    def __new__(cls, seed: bytes) -> Table: ...
    def find(self, key: bytes, /) -> int | None: ...
    def remember(self, key: bytes, code: int, /) -> None: ...
    def remember_many(self, keys: list[bytes], codes: NDArray[Any], /) -> None: ...
    def forget_rejected(self) -> None: ...
    def keep(self, wanted: NDArray[Any], /) -> None: ...
    def codes(self) -> bytearray: ...
    def decode(
        self, batch: bytes, received_s: int, resolve: Callable[[bytes], int], /
    ) -> tuple[
        bytearray,
        bytearray,
        int | bytearray,
        bytearray | None,
        list[tuple[int, int, list[int]]],
        list[tuple[int, bytes]],
    ]: ...
    def __len__(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...

def chunks(rows: NDArray[Any], shift: int, /) -> list[int]: ...
def scatter(
    blocks: list[NDArray[Any] | None],
    first_chunk: int,
    shift: int,
    rows: NDArray[Any],
    columns: int | NDArray[Any],
    values: NDArray[Any],
    /,
) -> None: ...
def newest(
    sids: NDArray[Any],
    times_s: int | NDArray[Any],
    newest_s: NDArray[Any],
    host_of: NDArray[Any],
    host_newest_s: NDArray[Any],
    /,
) -> None: ...
