"""What the conditions and rules of the router look at: a series, and for some questions one sample of it."""

from __future__ import annotations

from typing import Mapping, Optional


class NeedsSampleError(Exception):
    """The answer depends on the value or time of a sample, and there is none."""


class RuleInput:
    """What conditions and rules look at: a series, and for some questions one sample of it."""

    __slots__ = ("factor", "meta", "name", "sample_time_s", "sample_value", "tags")

    def __init__(
        self,
        name: str,
        tags: Mapping[str, str],
        meta: Mapping[str, str],
        sample_value: Optional[float] = None,
        sample_time_s: Optional[int] = None,
    ) -> None:
        self.name = name
        self.tags = dict(tags)
        self.meta = dict(meta)
        self.factor: float = 1  # whole, so that whole numbers stay whole
        self.sample_value = sample_value
        self.sample_time_s = sample_time_s

    @property
    def value(self) -> float:
        """The value in the present unit."""
        if self.sample_value is None:
            raise NeedsSampleError
        return self.sample_value * self.factor

    @property
    def time_s(self) -> int:
        """The time of the sample."""
        if self.sample_time_s is None:
            raise NeedsSampleError
        return self.sample_time_s
