"""The input of the router's conditions and rules: a series, and optionally one sample of it."""

from __future__ import annotations

from typing import Mapping, Optional


class NeedsSampleError(Exception):
    """A condition depends on the value or time of a sample, and there is no sample."""


class RuleInput:
    """A series as conditions see it and rules change it; with a sample, its value and time too.

    `kind` is the class of its messages: metric, event, log or control.
    """

    __slots__ = ("factor", "kind", "meta", "name", "sample_time_s", "sample_value", "tags")

    def __init__(
        self,
        name: str,
        tags: Mapping[str, str],
        meta: Mapping[str, str],
        sample_value: Optional[float] = None,
        sample_time_s: Optional[int] = None,
        *,
        kind: str = "metric",
    ) -> None:
        self.kind = kind
        self.name = name
        self.tags = dict(tags)
        self.meta = dict(meta)
        self.factor: float = 1  # an int, so that integer values stay integers
        self.sample_value = sample_value
        self.sample_time_s = sample_time_s

    @property
    def value(self) -> float:
        """The value in the current unit. Raises NeedsSampleError without a sample."""
        if self.sample_value is None:
            raise NeedsSampleError
        return self.sample_value * self.factor

    @property
    def time_s(self) -> int:
        """The time of the sample. Raises NeedsSampleError without one."""
        if self.sample_time_s is None:
            raise NeedsSampleError
        return self.sample_time_s
