"""Functions of aggregates, such as `sum(values) / numHWThreads`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

from cc_agent.expression import compile_function


class AggregateInput(NamedTuple):
    """The values that a function gets, and the interval that they are of, in seconds since the epoch."""

    values: List[float]
    start_s: int
    end_s: int


def _median(values: List[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else ordered[middle - 1] / 2 + ordered[middle] / 2


AggregateFunction = Callable[[AggregateInput], Any]

_OF_VALUES: Dict[str, Callable[[List[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "avg": lambda values: math.fsum(values) / len(values),
    "mean": lambda values: math.fsum(values) / len(values),
    "median": _median,
    "len": len,
}


def compile_aggregate(text: str, constants: Mapping[str, Any]) -> AggregateFunction:
    """The function of a text, None where it is undefined. Raises ExpressionError with the position."""
    return compile_function(
        text,
        functions={name: partial(_apply, function) for name, function in _OF_VALUES.items()},
        names={"starttime": lambda found: found.start_s, "endtime": lambda found: found.end_s},
        constants=constants,
    )


def _apply(function: Callable[[List[float]], float], found: AggregateInput) -> float:
    return function(found.values)
