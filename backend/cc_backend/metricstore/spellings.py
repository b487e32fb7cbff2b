"""Raw keys of the wire, remembered with the series they lead to or the reason why they lead to none."""

from typing import TYPE_CHECKING

from cc_backend.metricstore.model import Flags, Reason
from cc_backend.metricstore.naming import Refusal

if TYPE_CHECKING:
    from cc_backend.metricstore.series import SeriesTable

REASONS = tuple(Reason)


def refusal_code(reason: Reason) -> int:
    """The negative number that stands for a refused key where a sid would stand."""
    return -1 - REASONS.index(reason)


def refusal_reason(code: int) -> Reason:
    """The reason behind a negative number."""
    return REASONS[-1 - code]


class IrregularKeyError(Exception):
    """Bytes where a key was expected are not a key that the fast path may read."""


class Spellings(dict[bytes, int]):
    """Raw key -> sid or refusal code, for batches with one default cluster.

    Keys are the bytes of the wire with a newline before them, which is how the fast path cuts them out of a batch: a
    key that is found is thereby proven to stand at the begin of a line. Looking up an unknown key resolves it.
    """

    def __init__(self, table: "SeriesTable", default_cluster: str) -> None:
        super().__init__()
        self._table = table
        self._default_cluster = default_cluster

    def __missing__(self, key: bytes) -> int:
        # Comments, blanks around a line and escapes are for the slow path.
        if not key.startswith(b"\n") or key[1:2] in (b"", b"#", b" ", b"\t", b"\r") or b"\\" in key:
            raise IrregularKeyError
        return self._table.resolve_and_remember(self, key, key[1:], self._default_cluster)

    def find(self, series: bytes) -> int:
        """The sid or refusal code of a series key as it stands on the wire, escapes and all."""
        key = b"\n" + series
        known = self.get(key)
        if known is not None:
            return known
        return self._table.resolve_and_remember(self, key, series, self._default_cluster)

    def explain(self, series: bytes) -> str:
        """Why a key is refused, for people."""
        found = self._table.resolve(series, self._default_cluster)
        return found.text if isinstance(found, Refusal) else ""

    def keep(self, wanted: Flags) -> None:
        """Forget all refusals, and the spellings of series that are not wanted."""
        flags = wanted.tolist()
        kept = {key: sid for key, sid in self.items() if sid >= 0 and flags[sid]}
        self.clear()
        self.update(kept)
