"""Plausible curves of job metrics, the same for the same seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a curve runs around its level: noise, regular dips, saw teeth, a slow start, an early end, a step."""

    spread: float = 0.04
    dips: int = 0
    dip_depth: float = 0.6
    saw: int = 0
    sine: float = 0.0
    ramp: float = 0.02
    end: float = 1.0
    step_at: float = 1.0
    step_factor: float = 1.0

    def calm(self) -> "Shape":
        """The same without dips and teeth, for metrics that do not follow the phases of a program."""
        return replace(self, dips=0, saw=0, sine=0.0)


# What an idle node still shows.
_FLOOR: Mapping[str, float] = {"cpu_power": 150.0, "clock": 1100.0, "ipc": 0.42, "vectorization_ratio": 3.0}
_DIP_STARTS = 0.94
_CALM = frozenset({"cpu_load", "mem_used", "clock"})


def curve(rng: np.random.Generator, length: int, metric: str, level: float, shape: Shape) -> Curve:
    """One curve of a metric at about the level."""
    use = shape.calm() if metric in _CALM else shape
    if metric == "cpu_load":
        use = replace(use, spread=min(use.spread, 0.01))
    x = np.linspace(0, 1, max(length, 2))[:length]
    out = level * (1 + use.spread * 0.6 * _noise(rng, length))
    if metric == "mem_used":
        out = level * (np.minimum(1, 0.35 + x * 8) + 0.12 * x) * (1 + 0.004 * rng.standard_normal(length))
    elif use.ramp:
        out *= np.clip(x / use.ramp, 0.3, 1)
    if use.dips:
        phase = (x * use.dips) % 1
        out *= np.where(
            (phase > _DIP_STARTS) & (x > use.ramp), 1 - use.dip_depth * np.sin((phase - _DIP_STARTS) / 0.06 * np.pi), 1
        )
    if use.saw:
        out *= 0.55 + 0.6 * ((x * use.saw) % 1)
    if use.sine:
        out *= 0.86 + 0.16 * np.sin(x * use.sine)
    out = np.where(x > use.step_at, out * use.step_factor, out)
    if use.end < 1:
        idle = _FLOOR.get(metric, level * 0.01) * (1 + 0.02 * rng.standard_normal(length))
        out = np.where(x > use.end, idle if metric != "mem_used" else 7 + 0 * idle, out)
    return np.maximum(out, 0.0)


def _noise(rng: np.random.Generator, length: int, rough: float = 0.5) -> Curve:
    """A random walk that is pulled back to zero, about unit size."""
    out = np.empty(length)
    value = 0.0
    for i, push in enumerate(rng.standard_normal(length)):
        value = value * (1 - rough * 0.35) + push * rough
        out[i] = value
    return out
