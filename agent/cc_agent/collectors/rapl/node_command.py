"""Power of the whole node from a BMC, by a program that asks it with DCMI (Data Center Manageability Interface).

`ipmitool dcmi power reading` and `ipmi-dcmi --get-system-power-statistics` of FreeIPMI are understood. A BMC may take
seconds, so the program runs in the background once a minute.
"""

from __future__ import annotations

import logging
import re
from typing import List, Optional, Sequence

from cc_agent.collectors.base import Tick
from cc_agent.collectors.commands import SlowSource, find_program, run_command

logger = logging.getLogger(__name__)

PERIOD_S = 60.0
_TIMEOUT_S = 20.0
_MAX_AGE_S = 2.5 * PERIOD_S
_MAX_OUTPUT_BYTES = 65536
_MAX_NODE_W = 100_000
_POWER = re.compile(
    rb"^\s*(?:Instantaneous power reading|Current Power)\s*:\s*(\d{1,6})\s*W(?:atts?)?\s*$",
    re.MULTILINE | re.IGNORECASE,
)


def parse_power_w(output: bytes) -> int:
    """The power in watts in what a DCMI program prints. Raises ValueError if there is none."""
    found = _POWER.search(output)
    power_w = int(found.group(1)) if found else 0
    if not 0 < power_w <= _MAX_NODE_W:
        raise ValueError("the program for the power of the node prints no power")
    return power_w


class NodeCommand:
    """The power of the node, as a program finds it every minute. Raises NotPresentError without the program."""

    def __init__(self, words: Sequence[str]) -> None:
        program = find_program(words[0], "install it, or leave out node_power_command")
        self._words: List[str] = [program, *words[1:]]
        self._source: SlowSource[int] = SlowSource("node_power", self._measure, PERIOD_S)
        self._power_w: Optional[float] = None
        self._measured_s = 0.0

    def _measure(self) -> int:
        return parse_power_w(run_command(self._words, timeout_s=_TIMEOUT_S, max_bytes=_MAX_OUTPUT_BYTES))

    def read_w(self, tick: Tick) -> Optional[float]:
        """Watts, for two and a half minutes after they were found; None if there are none."""
        try:
            found = self._source.poll(tick)
        except (OSError, ValueError) as error:
            logger.log(logging.WARNING if self._power_w else logging.DEBUG, "power of the node unknown: %s", error)
            self._power_w = None
            return None
        if found is not None:
            self._power_w, self._measured_s = float(found.value), tick.monotonic_s
        if tick.monotonic_s - self._measured_s > _MAX_AGE_S:
            self._power_w = None
        return self._power_w

    def close(self) -> None:
        """Forget what is being read."""
        self._source.close()
