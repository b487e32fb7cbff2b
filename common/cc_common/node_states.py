"""Node state reports: the state of all nodes of a cluster at one moment, as the Slurm adapter sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Tuple

from cc_common.json_reader import ObjectReader, ParsedPayload


@dataclass(frozen=True)
class NodeState:
    """One node: the scheduler's state words as sent, and what is allocated; `memory_allocated` in megabytes."""

    hostname: str
    states: Tuple[str, ...] = ()
    cpus_allocated: int = 0
    memory_allocated: int = 0
    gpus_allocated: int = 0
    jobs_running: int = 0

    def to_document(self) -> Dict[str, Any]:
        """The JSON object of one node."""
        return {
            "hostname": self.hostname,
            "states": list(self.states),
            "cpusAllocated": self.cpus_allocated,
            "memoryAllocated": self.memory_allocated,
            "gpusAllocated": self.gpus_allocated,
            "jobsRunning": self.jobs_running,
        }


@dataclass(frozen=True)
class NodeStateReport:
    """All nodes of one cluster."""

    cluster: str
    nodes: Tuple[NodeState, ...]

    def to_document(self) -> Dict[str, Any]:
        """The JSON object as existing adapters send it."""
        return {"cluster": self.cluster, "nodes": [node.to_document() for node in self.nodes]}


def parse_node_states(document: Any) -> ParsedPayload[NodeStateReport]:
    """The report in a JSON object, with the ignored keys. Raises PayloadError with the path of an invalid field."""
    reader = ObjectReader(document)
    report = NodeStateReport(
        cluster=reader.name("cluster"),
        nodes=tuple([_read_node(node) for node in reader.objects("nodes")]),
    )
    return ParsedPayload(report, reader.finish())


def _read_node(reader: ObjectReader) -> NodeState:
    node = NodeState(
        hostname=reader.name("hostname"),
        states=reader.strings("states"),
        cpus_allocated=reader.integer("cpusAllocated"),
        memory_allocated=reader.integer("memoryAllocated"),
        gpus_allocated=reader.integer("gpusAllocated"),
        jobs_running=reader.integer("jobsRunning"),
    )
    reader.finish()
    return node
