"""Keys of a batch that are not known yet: what is new is registered only once a line of it is found fit to be stored.

A batch whose lines are rejected, for whatever reason, so leaves no host and no series behind.
"""

import re
from collections.abc import Container
from itertools import compress
from typing import NamedTuple

import numpy as np

from cc_backend.errors import TooLarge
from cc_backend.metricstore.model import HostPart, Identity, Int64Array
from cc_common.error_codes import ErrorCode

MAX_NEW_KEYS = 200_000
"""Maximum keys of one batch that have to be resolved, up to 10 microseconds each."""

FIRST_NEW_CODE = 1 << 30
"""Codes from here on stand for new series of the batch, those below for registered ones."""


_HOST_TAG = re.compile(rb"((?:^|,)host(?:name)?=)([^,]*)")
_ONE_HOST_TAG = 4  # pieces


class SeriesKinds:
    """Numbers of kinds of series (metric and part). Hosts of a cluster have the same ones, so they outlive a batch.

    `metrics` leads from a metric as keys write it to its name, `parts` from the default cluster of a batch and the tags
    before and after the host to the cluster and the part of the host.
    """

    def __init__(self) -> None:
        self.kinds: list[tuple[str, HostPart]] = []
        self.metrics: dict[bytes, str] = {}
        self.parts: dict[tuple[str, bytes, bytes], tuple[str, HostPart]] = {}
        self._numbers: dict[HostPart, dict[str, int]] = {}

    def of_part(self, part: HostPart) -> dict[str, int]:
        """Metric -> number of its kind, for one part; what `add` adds is seen there."""
        return self._numbers.setdefault(part, {})

    def add(self, metric: str, part: HostPart) -> int:
        """The number of a kind that has none yet."""
        number = self.of_part(part)[metric] = len(self.kinds)
        self.kinds.append((metric, part))
        return number

    def __len__(self) -> int:
        return len(self.kinds) + len(self.parts)


class NewSeries(NamedTuple):
    """Series by the numbers of their hosts (cluster and name) and kinds (metric and part)."""

    hosts: list[tuple[str, str]]
    kinds: list[tuple[str, HostPart]]
    host_of: Int64Array
    kind_of: Int64Array


class _KnownTags:
    """What all keys of a batch with the same tags have in common: host, part, and which metrics are kept there."""

    __slots__ = ("cluster_metrics", "codes", "host", "host_metrics", "kinds", "part")

    def __init__(
        self,
        host: int,
        part: HostPart,
        kinds: dict[str, int],
        cluster_metrics: Container[str],
        host_metrics: Container[str],
    ) -> None:
        self.host = host
        self.part = part
        self.kinds = kinds
        self.cluster_metrics = cluster_metrics
        self.host_metrics = host_metrics
        self.codes: dict[str, int] = {}


class NewKeys:
    """The new series of one batch, by a code each, and the keys that led to them.

    A key is a metric and tags. Once a key with its tags and another one with its metric were resolved, a key is known
    without being parsed, which is several times faster: a node has many metrics for each of its parts. Tags of a host
    are also known if a key with another metric or part of it was resolved, and one with the same tags of another host.
    """

    def __init__(self, kinds: SeriesKinds, default_cluster: str = "") -> None:
        self._kinds = kinds
        self._default_cluster = default_cluster
        self._keys: dict[bytes, int] = {}
        self._resolved = 0
        self._tags: dict[bytes, _KnownTags] = {}
        self._tags_of_part: dict[tuple[int, HostPart], _KnownTags] = {}
        self._tags_of_host: dict[tuple[str, bytes], _KnownTags] = {}
        self._hosts: dict[tuple[str, str], int] = {}
        self._host_of: list[int] = []
        self._kind_of: list[int] = []

    def find(self, series: bytes) -> int | None:
        """The code of a key that this batch had before, or whose metric and tags it had; None for any other.

        Raises:
            TooLarge: the batch has more than `MAX_NEW_KEYS`.
        """
        code = self._keys.get(series)
        if code is not None:
            return code
        metric_text, _, tag_text = series.partition(b",")
        metric = self._kinds.metrics.get(metric_text)
        tags = self._tags.get(tag_text) or self._find_tags(tag_text)
        if tags is None or metric is None or metric not in tags.host_metrics or metric not in tags.cluster_metrics:
            return None
        self.count()
        code = tags.codes.get(metric)
        if code is None:
            code = self._new_code(tags, metric)
        self._keys[series] = code
        return code

    def _find_tags(self, text: bytes) -> _KnownTags | None:
        """Tags that no key of the batch had, but the same ones with another host; None unless the host is known."""
        begin, host_text, end = _split_at_host(text)
        cluster, part = self._kinds.parts.get((self._default_cluster, begin, end), ("", None))
        like = self._tags_of_host.get((cluster, host_text))
        if like is None or part is None:
            return None
        self._tags[text] = tags = self._tags_at(like.host, part, like.cluster_metrics, like.host_metrics)
        return tags

    def count(self) -> None:
        """Count one more key that is new.

        Raises:
            TooLarge: the batch has more than `MAX_NEW_KEYS`.
        """
        self._resolved += 1
        if self._resolved > MAX_NEW_KEYS:
            text = f"the batch has more than {MAX_NEW_KEYS} series that are new; send it in smaller parts"
            raise TooLarge(text, code=ErrorCode.BODY_TOO_LARGE)

    def add(
        self, series: bytes, identity: Identity, *, cluster_metrics: Container[str], host_metrics: Container[str]
    ) -> int:
        """The code of the series to which a key was found to lead.

        A metric has to be among those of its cluster and those of its host to be kept.
        """
        cluster, host, metric, part = identity
        number = self._hosts.setdefault((cluster, host), len(self._hosts))
        tags = self._tags_at(number, part, cluster_metrics, host_metrics)
        metric_text, _, tag_text = series.partition(b",")
        if b"\\" not in metric_text:  # then the comma is not part of the metric's name
            self._kinds.metrics[metric_text], self._tags[tag_text] = metric, tags
            begin, host_text, end = _split_at_host(tag_text)
            if host_text:
                self._tags_of_host[cluster, host_text] = tags
                self._kinds.parts[self._default_cluster, begin, end] = cluster, part
        code = tags.codes.get(metric)
        if code is None:
            code = self._new_code(tags, metric)
        self._keys[series] = code
        return code

    def _tags_at(
        self, host: int, part: HostPart, cluster_metrics: Container[str], host_metrics: Container[str]
    ) -> _KnownTags:
        tags = self._tags_of_part.get((host, part))
        if tags is None:
            tags = _KnownTags(host, part, self._kinds.of_part(part), cluster_metrics, host_metrics)
            self._tags_of_part[host, part] = tags
        return tags

    def _new_code(self, tags: _KnownTags, metric: str) -> int:
        kind = tags.kinds.get(metric)
        if kind is None:
            kind = self._kinds.add(metric, tags.part)
        code = tags.codes[metric] = FIRST_NEW_CODE + len(self._host_of)
        self._host_of.append(tags.host)
        self._kind_of.append(kind)
        return code

    def series(self, codes: Int64Array) -> NewSeries:
        """The series behind codes, in their order."""
        at = codes - FIRST_NEW_CODE
        hosts, kinds = np.array(self._host_of, np.int64)[at], np.array(self._kind_of, np.int64)[at]
        return NewSeries(list(self._hosts), self._kinds.kinds, hosts, kinds)

    def keys_of(self, codes: Int64Array) -> tuple[list[bytes], Int64Array]:
        """The keys that led to some codes, in the order in which they came; and the position of each one's code."""
        positions = np.full(len(self._host_of), -1)
        positions[codes - FIRST_NEW_CODE] = np.arange(len(codes))
        found = positions[np.fromiter(self._keys.values(), np.int64, len(self._keys)) - FIRST_NEW_CODE]
        is_wanted = found >= 0
        return list(compress(self._keys, is_wanted.tolist())), found[is_wanted]

    def __len__(self) -> int:
        return len(self._host_of)


def _split_at_host(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Tags before the host, the host, and those after it; empty unless there is one host tag and no escape."""
    pieces = [] if b"\\" in text else _HOST_TAG.split(text)
    if len(pieces) != _ONE_HOST_TAG:
        return b"", b"", b""
    return pieces[0] + pieces[1], pieces[2], pieces[3]
