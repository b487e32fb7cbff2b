"""Series keys as they stand on the wire: which series they lead to, and what is remembered of that."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.ingest.host_config import Nodes
from cc_backend.metricstore.ingest.identity import Refusal, identify
from cc_backend.metricstore.ingest.key_cache import MAX_SPELLING_BYTES, Spellings, refusal_code
from cc_backend.metricstore.ingest.native_reader import KernelName, new_spellings
from cc_backend.metricstore.ingest.new_keys import BoundKeys, NewKeys
from cc_backend.metricstore.model import Flags, Identity, Ids, Limits, MetricTable, Reason
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

MAX_SPELLINGS_PER_SERIES = 4

_NAMED_STRANGERS = 10_000


MAX_REFUSED_BYTES = 512
"""Longer keys that are refused are not remembered: as many as may be would take 200 MB."""

MAX_TABLES = 256
"""Maximum tables of spellings: one for each default cluster and each set of clusters that a caller is bound to."""


class _Batches(NamedTuple):
    """What batches of one table have in common; `bound` are the clusters that their senders may write to."""

    default_cluster: str
    bound: tuple[str, ...]


class WireKeys:
    """Resolves keys, and remembers a bounded number of them per default cluster, per series, and of those refused."""

    def __init__(
        self,
        register: Callable[[Sequence[Identity]], Ids],
        metrics: MetricTable,
        nodes: Nodes,
        limits: Limits,
        kernel: KernelName | None = None,
    ) -> None:
        self._register = register
        self._metrics = metrics
        self._nodes = nodes
        self._limits = limits
        self._kernel = kernel
        self._spellings: dict[_Batches, Spellings] = {}
        self._new: NewKeys | None = None
        self._spelt = np.zeros(1024, np.uint8)
        self._refused = 0
        self._strangers: set[tuple[str, str]] = set()

    def spellings(self, default_cluster: str, bound: Collection[str] = ()) -> Spellings:
        """The spellings for batches with this default cluster; those that are not configured share one table.

        Callers that are bound to clusters have tables of their own, in which no key of another cluster can be.
        """
        name = default_cluster if not default_cluster or default_cluster in self._metrics else "?"
        batches = _Batches(name, tuple(sorted(set(bound))))
        known = self._spellings.get(batches)
        if known is None:
            if len(self._spellings) >= MAX_TABLES:
                self._forget_tables()
            resolver = BoundKeys(self, batches.bound) if batches.bound else self
            known = new_spellings(resolver, name, self._kernel)
            self._spellings = {**self._spellings, batches: known}  # others may be counting what is remembered
        return known

    def _forget_tables(self) -> None:
        """Forget the tables of bound callers; who made so many of them has to begin anew."""
        self._spellings = {batches: known for batches, known in self._spellings.items() if not batches.bound}
        self._recount()

    def tables(self) -> list[Spellings]:
        """The spellings of all default clusters."""
        return list(self._spellings.values())

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Refusal:
        """The identity behind a series key, or why there is none."""
        try:
            metric, tags = parse_series(series)
        except LineProtocolError as error:
            return Refusal(Reason.SYNTAX, str(error))
        found = identify(metric, tags, default_cluster=default_cluster, metrics=self._metrics, nodes=self._nodes)
        if not self._limits.strict_hosts or isinstance(found, Refusal):
            return found
        if self._nodes.lists(found.cluster, found.host):
            return found
        if len(self._strangers) < _NAMED_STRANGERS:
            self._strangers.add((found.cluster, found.host))
        return Refusal(Reason.UNKNOWN_HOST, f"host {found.host!r} is not configured for cluster {found.cluster!r}")

    def resolve_and_remember(self, spellings: Spellings, series: bytes, default_cluster: str) -> int:
        """The sid or refusal code of a key that is not remembered yet. What is remembered is bounded.

        While new keys are put off, it is their code that is given for a key that leads to a series.
        """
        if self._new is not None:
            code = self._new.find(series)
            if code is not None:
                return code
            self._new.count()
        found = self.resolve(series, default_cluster)
        if isinstance(found, Refusal):
            return self._remember(spellings, series, refusal_code(found.reason))
        if self._new is not None:
            return self._new.add(series, found)
        return self._remember(spellings, series, int(self._register([found])[0]))

    @contextmanager
    def putting_off(self) -> Iterator[NewKeys]:
        """Meanwhile no series is registered; `register` does that for those that are found fit to be stored."""
        self._new = NewKeys()
        try:
            yield self._new
        finally:
            self._new = None

    def register(self, spellings: Spellings, codes: Ids) -> Ids:
        """The sids or refusal codes of new series of the batch, by their codes, which ascend; they are remembered."""
        new = self._new
        if new is None:
            raise LookupError("no keys were put off")
        listed: list[int] = codes.tolist()
        sids = self._register(new.identities(listed))
        known = dict(zip(listed, sids.tolist(), strict=True))
        for series, code in new.keys_of(known.keys()):
            self._remember(spellings, series, known[code])
        return sids

    def _remember(self, spellings: Spellings, series: bytes, sid: int) -> int:
        """Remember a key, if there is room; its sid or refusal code."""
        if len(series) > (MAX_SPELLING_BYTES if sid >= 0 else MAX_REFUSED_BYTES):
            return sid
        if sid < 0:
            if self._refused >= self._limits.refused_spellings:
                self.forget_refused()
            self._refused += 1
        elif not self._has_room(sid):
            return sid
        spellings.remember(series, sid)
        return sid

    def _has_room(self, sid: int) -> bool:
        """Whether one more spelling of a series is remembered; it counts from now on."""
        if sid >= len(self._spelt):
            more = np.zeros(max(sid + 1 - len(self._spelt), len(self._spelt) // 4), np.uint8)
            self._spelt = np.concatenate([self._spelt, more])
        elif self._spelt[sid] >= MAX_SPELLINGS_PER_SERIES:
            return False
        self._spelt[sid] += 1
        return True

    def forget_refused(self) -> None:
        """Look again at keys that were refused."""
        for spellings in self._spellings.values():
            spellings.forget_refused()
        self._refused = 0

    def keep(self, wanted: Flags) -> None:
        """Forget all refusals, and the spellings of series that are not wanted; `wanted` has an entry per sid."""
        self._refused = 0
        self._spelt = np.zeros(len(wanted), np.uint8)
        for spellings in self._spellings.values():
            spellings.keep(wanted)
        self._recount()

    def _recount(self) -> None:
        """Count anew how many spellings of each series are remembered."""
        self._spelt[:] = 0
        for spellings in self._spellings.values():
            np.add.at(self._spelt, spellings.sids(), 1)

    def reload(self, metrics: MetricTable, nodes: Nodes, wanted: Flags) -> None:
        """Take over new metrics and hosts, and look at all keys again but those of wanted series."""
        self._metrics, self._nodes = metrics, nodes
        self._strangers.clear()
        self.keep(wanted)
        self._spellings = {
            batches: known
            for batches, known in self._spellings.items()
            if batches.default_cluster in metrics or not batches.default_cluster
        }

    @property
    def strangers(self) -> int:
        """How many hosts were refused because the configuration does not have them; counted up to 10,000."""
        return len(self._strangers)

    def __len__(self) -> int:
        """How many keys are remembered."""
        return sum(len(spellings) for spellings in self._spellings.values())

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._spelt.nbytes + sum(spellings.size_bytes for spellings in self._spellings.values())
