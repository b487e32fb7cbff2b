"""Writes files as the reference's metric store does, from the description of their layout."""

import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Level:
    """One level of a snapshot: metric -> (timestep, start, values), and the levels below it."""

    metrics: dict[str, tuple[int, int, Sequence[float]]] = field(default_factory=dict)
    children: dict[str, "Level"] = field(default_factory=dict)


def binary(root: Level, from_s: int = 0, to_s: int = 0) -> bytes:
    return struct.pack("<Iqq", 0xCC5B0001, from_s, to_s) + _binary_level(root)


def _binary_level(level: Level) -> bytes:
    parts = [struct.pack("<I", len(level.metrics))]
    for metric, (timestep_s, start_s, values) in level.metrics.items():
        parts += [_name(metric), struct.pack(f"<qqI{len(values)}f", timestep_s, start_s, len(values), *values)]
    parts.append(struct.pack("<I", len(level.children)))
    for name, child in level.children.items():
        parts += [_name(name), _binary_level(child)]
    return b"".join(parts)


def _name(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<H", len(raw)) + raw


def json_text(root: Level, from_s: int = 0, to_s: int = 0) -> bytes:
    return json.dumps({"from": from_s, "to": to_s} | _json_level(root)).encode()


def _json_level(level: Level) -> Mapping[str, object]:
    return {
        "metrics": {
            metric: {
                "frequency": timestep_s,
                "start": start_s,
                "data": [None if math.isnan(value) else value for value in values],
            }
            for metric, (timestep_s, start_s, values) in level.metrics.items()
        },
        "children": {name: _json_level(child) for name, child in level.children.items()},
    }


def log(*samples: tuple[int, str, Sequence[str], float]) -> bytes:
    return struct.pack("<I", 0xCC1DA701) + b"".join(record(*sample) for sample in samples)


def record(time_s: int, metric: str, path: Sequence[str], value: float) -> bytes:
    payload = struct.pack("<q", time_s) + _name(metric) + bytes([len(path)])
    for name in path:
        raw = name.encode()
        payload += bytes([len(raw) & 255]) + raw  # as the reference does it with long names
    return framed(payload + struct.pack("<f", value))


def framed(payload: bytes) -> bytes:
    return struct.pack("<II", 0xCC1DA7A1, len(payload)) + payload + struct.pack("<I", zlib.crc32(payload))
