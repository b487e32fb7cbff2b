"""Energy counters by pyRAPL, for sites that ask for it (`provider: pyrapl`).

The library has fixed paths, knows packages and dram of Intel only, does not handle the wrap of counters, and has had no
release since 2019; it is imported only here, and nothing else needs it.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from cc_agent.collectors.rapl.energy import CPU_POWER, MEM_POWER, EnergyDomain
from cc_agent.errors import NotAvailableError, NotPresentError

_TO_JOULES = 1e-6
_KINDS = ((CPU_POWER, ""), (MEM_POWER, "dram"))
"""In pyRAPL's list: for each package its own energy, then that of its dram; -1 for what it cannot read."""


class PyRapl:
    """Energy by pyRAPL; raises like `open` of a collector."""

    name = "pyrapl"

    def __init__(self, sockets: Mapping[int, int]) -> None:
        try:
            import pyRAPL  # noqa: PLC0415 only if it is asked for
        except ImportError as error:
            raise NotAvailableError(
                "provider pyrapl is asked for, and pyRAPL is not installed",
                "install pyRAPL for the Python of the agent, or leave out `provider`",
            ) from error
        try:
            self._sensor: Any = pyRAPL.Sensor()
        except Exception as error:
            raise NotPresentError(f"pyRAPL finds no energy counter: {type(error).__name__} {error}".strip()) from error
        self._before: List[float] = []
        self.domains: List[EnergyDomain] = []
        self._places: Dict[int, int] = {}
        for place, value in enumerate(self._sensor.energy()):
            package, kind = divmod(place, len(_KINDS))
            if value >= 0 and package in sockets:
                metric, zone = _KINDS[kind]
                socket = f"{sockets[package]}"
                self._places[place] = len(self.domains)
                self.domains.append(
                    EnergyDomain(metric, "socket", socket, f"{package}:{kind}", f"package-{package}", zone)
                )

    def read(self, elapsed_s: Optional[float], /) -> List[Optional[float]]:
        """Watts of each domain since the previous call; None after a wrap."""
        now = list(self._sensor.energy())
        before, self._before = self._before, now
        watts: List[Optional[float]] = [None] * len(self.domains)
        if len(before) == len(now) and elapsed_s:
            for place, index in self._places.items():
                if 0 <= before[place] <= now[place]:
                    watts[index] = (now[place] - before[place]) * _TO_JOULES / elapsed_s
        return watts

    def close(self) -> None:
        """Nothing to do: pyRAPL opens its files for the life of the process."""
        self._sensor = None
