"""Decodes many series keys of the log and of snapshots at once."""

from collections.abc import Sequence

import numpy as np

from cc_backend.metricstore.disk.wal.wal_format import NAME_SEPARATOR, decode_key
from cc_backend.metricstore.index.bulk_keys import NO_KEY, UNREADABLE_KEY, BulkKeys, KeyDictionary
from cc_backend.metricstore.model import Int64Array


class KeyReader:
    """Decodes keys to numbers, which `names` resolves. Each host, and each metric and part, is decoded once."""

    def __init__(self) -> None:
        self.names = KeyDictionary()
        self._clusters: dict[str, str] = {}  # one object per name
        self._hosts: dict[bytes, int] = {}
        self._kinds: dict[bytes, int] = {b"": UNREADABLE_KEY}

    def read(self, keys: Sequence[bytes]) -> BulkKeys:
        """The numbers of keys, with the result of `decode_key`; an empty key gives `NO_KEY`."""
        hosts: list[int] = []
        lengths: list[int] = []
        rests: list[bytes] = []
        begin, count = 0, len(keys)
        while begin < count:
            key = keys[begin]
            length = (
                key.find(NAME_SEPARATOR, key.find(NAME_SEPARATOR) + 1) + 1
            )  # of cluster and host; 0 if one is missing
            prefix = key[:length]
            end = begin + 1
            while length and end < count and keys[end].startswith(prefix):
                end += 1
            hosts.append(self._host_number(prefix) if length else UNREADABLE_KEY if key else NO_KEY)
            lengths.append(end - begin)
            rests += [key[length:] for key in keys[begin:end]]
            begin = end
        owners = np.repeat(np.array(hosts, np.int64), lengths)
        kinds = np.where(owners < 0, owners, self._kind_numbers(rests))
        return BulkKeys(self.names, np.where(kinds < 0, kinds, owners), kinds)

    def _host_number(self, prefix: bytes) -> int:
        number = self._hosts.get(prefix)
        if number is not None:
            return number
        try:
            cluster, host, _ = prefix.decode().split("\0")
        except UnicodeDecodeError:
            return UNREADABLE_KEY
        number = self._hosts[prefix] = len(self.names.hosts)
        self.names.hosts.append((self._clusters.setdefault(cluster, cluster), host))
        return number

    def _kind_numbers(self, rests: list[bytes]) -> Int64Array:
        known = self._kinds
        try:
            return np.array([known[rest] for rest in rests], np.int64)
        except KeyError:
            return np.array([known[rest] if rest in known else self._new_kind(rest) for rest in rests], np.int64)

    def _new_kind(self, rest: bytes) -> int:
        identity = decode_key(b"\0\0" + rest)
        if identity is None:
            return UNREADABLE_KEY
        number = self._kinds[rest] = len(self.names.kinds)
        self.names.kinds.append((identity.metric, identity.part))
        return number
