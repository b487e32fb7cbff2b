"""Calls of the NFS client by operation, from /proc/net/rpc/nfs: what `nfsstat -c` prints, without a process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from cc_agent.collectors.base import KernelFile, MetricFilter, Reading, SeriesPool, Tick
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet
from cc_agent.errors import NotPresentError
from cc_common.settings import option

# In the order of the kernel's tables: RFC 1813 for version 3, include/linux/nfs4.h (NFSPROC4_CLNT_*) for version 4.
_VERSION_3 = (
    "null", "getattr", "setattr", "lookup", "access", "readlink", "read", "write", "create", "mkdir", "symlink",
    "mknod", "remove", "rmdir", "rename", "link", "readdir", "readdirplus", "fsstat", "fsinfo", "pathconf", "commit",
)  # fmt: skip
_VERSION_4 = (
    "null", "read", "write", "commit", "open", "open_conf", "open_noat", "open_dgrd", "close", "setattr", "fsinfo",
    "renew", "setclntid", "confirm", "lock", "lockt", "locku", "access", "getattr", "lookup", "lookup_root", "remove",
    "rename", "link", "symlink", "create", "pathconf", "statfs", "readlink", "readdir", "server_caps", "delegreturn",
    "getacl", "setacl", "fs_locations", "rel_lkowner", "secinfo", "fsid_present", "exchange_id", "create_session",
    "destroy_session", "sequence", "get_lease_time", "reclaim_comp", "layoutget", "getdevinfo", "layoutcommit",
    "layoutreturn", "secinfo_no", "test_stateid", "free_stateid", "getdevicelist", "bind_conn_to_ses",
    "destroy_clientid", "seek", "allocate", "deallocate", "layoutstats", "clone", "copy", "offload_cancel", "lookupp",
    "layouterror", "copy_notify", "getxattr", "setxattr", "listxattrs", "removexattr", "read_plus",
)  # fmt: skip
_MAX_OPERATIONS = 256


@dataclass(frozen=True)
class NfsstatOptions(MetricFilter):
    """Options of the collectors nfs3stat and nfs4stat."""

    nfsstat: str = option("nfsstat", "accepted for compatibility: no program is run", key="nfsstat")
    per_interval_values: bool = option(
        False,
        "send numbers of calls in an interval, as cc-metric-collector does, instead of calls per second",
        key="per_interval_values",
    )


class NfsstatCollector:
    """Calls of one version of NFS, by operation and in total."""

    def __init__(self, version: int, options: NfsstatOptions, root: Path = Path("/")) -> None:
        self.name = f"nfs{version}stat"
        self._key = f"proc{version}".encode()
        self._operations = _VERSION_3 if version == 3 else _VERSION_4  # noqa: PLR2004 the other version
        prefix = f"nfs{version}_"
        per_interval = options.per_interval_values
        counters = [
            Counter(
                operation,
                "requests",
                f"calls of the operation {operation}" if operation != "total" else f"all calls of NFS {version}",
                rate="" if per_interval else prefix + operation,
                difference=prefix + operation if per_interval else "",
            )
            for operation in ("total", *self._operations)
        ]
        # Configurations of cc-metric-collector exclude operations without the prefix.
        excluded = options.exclude_metrics + tuple(prefix + name for name in options.exclude_metrics)
        forms = CounterForms(rates=not per_interval, differences=per_interval)
        self._counters = CounterSet(counters, forms, replace(options, exclude_metrics=excluded))
        self.metrics = self._counters.metrics
        self._file = KernelFile(root / "proc/net/rpc/nfs")
        self._table = SeriesPool(self.metrics, source=f"Nfs{version}Collector", group="NFS")

    def open(self) -> None:
        """Check that this machine has been a client of NFS since boot."""
        self._counters.reset()
        try:
            self._read_counts()
        except OSError as error:
            raise NotPresentError(
                f"{self._file.path} cannot be read: {error.strerror or error}", "it appears with the first NFS mount"
            ) from error

    def read(self, tick: Tick) -> List[Reading]:
        """Calls since the previous reading; operations that this kernel does not have are left out."""
        return self._counters.readings(tick, {"": self._read_counts()}, self._table)

    def _read_counts(self) -> Dict[str, int]:
        return parse_calls(self._file.read(), self._key, self._operations)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def make_nfs3stat(options: NfsstatOptions, root: Path = Path("/")) -> NfsstatCollector:
    """The collector of calls of NFS version 3."""
    return NfsstatCollector(3, options, root)


def make_nfs4stat(options: NfsstatOptions, root: Path = Path("/")) -> NfsstatCollector:
    """The collector of calls of NFS version 4, whatever its minor version."""
    return NfsstatCollector(4, options, root)


def parse_calls(content: bytes, key: bytes, operations: Sequence[str]) -> Dict[str, int]:
    """Calls by operation and their `total`; the line is `proc4 67 0 5 …`: number of operations, then calls of each.

    Raises ValueError if there is no such line.
    """
    for line in content.split(b"\n"):
        words: Tuple[bytes, ...] = tuple(line.split())
        if len(words) > 1 and words[0] == key and all(map(bytes.isdigit, words[1:])):
            calls = [int(word) for word in words[2 : 2 + min(int(words[1]), _MAX_OPERATIONS)]]
            return {"total": sum(calls), **dict(zip(operations, calls))}
    raise ValueError(f"/proc/net/rpc/nfs has no line {key.decode()}: {content[:80]!r}")
