"""Divides the nodes of a cluster into lanes: on a lane runs one job after the other, so that no two overlap."""

from collections.abc import Iterator
from dataclasses import dataclass

from cc_demo.characters import Placement
from cc_demo.cluster_shape import ClusterShape, SubClusterShape, make_topology

SIZES = (4, 4, 1, 1)
GPU_SIZES = (1, 1, 2)
"""Nodes of the lanes, over and over; without GPUs there also come a node for short jobs and one that two jobs share."""


@dataclass(frozen=True, slots=True)
class JobLane:
    """Some nodes, or a part of the threads of one; `number` is the same for the same cluster."""

    number: int
    node: SubClusterShape
    hosts: tuple[str, ...]
    place: Placement
    hwthreads: tuple[int, ...] = ()


def make_lanes(shape: ClusterShape) -> list[JobLane]:
    """All lanes of a cluster; every node is in one, a shared node in two."""
    lanes: list[JobLane] = []
    for node in shape.sub_clusters:
        hosts = node.hosts()
        at = 0
        for size, place in _lane_pattern(node):
            if at >= len(hosts):
                break
            group = tuple(hosts[at : at + size])
            at += size
            lanes += _lanes_on(node, group, place, len(lanes))
    return lanes


def _lane_pattern(node: SubClusterShape) -> Iterator[tuple[int, Placement]]:
    while True:
        if node.gpus:
            yield from ((size, Placement.GPU) for size in GPU_SIZES)
            continue
        for size in SIZES:
            yield size, Placement.SEVERAL
        yield 1, Placement.SHORT
        yield 1, Placement.PART


def _lanes_on(node: SubClusterShape, group: tuple[str, ...], place: Placement, number: int) -> list[JobLane]:
    if place is Placement.PART and node.sockets > 1:
        # whole sockets, so that what is measured by socket belongs to one job
        sockets = make_topology(node)["socket"]
        half = len(sockets) // 2
        parts = (sockets[:half], sockets[half:])
        return [
            JobLane(number + i, node, group, place, tuple(sorted(thread for socket in part for thread in socket)))
            for i, part in enumerate(parts)
        ]
    fewest = 4  # nodes from which on those that differ from the others can be found
    if (place is Placement.SEVERAL and len(group) < fewest) or place is Placement.PART:
        place = Placement.ONE
    return [JobLane(number, node, group, place)]
