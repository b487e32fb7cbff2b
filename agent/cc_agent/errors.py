"""The errors of the node agent.

CockpitError
└── AgentError
    ├── NotAvailableError   a collector cannot work now, and somebody can change that
    │   └── NotPresentError     this machine does not have what a collector reads
    ├── ControlError        a request to the running agent is refused, or nobody answers
    ├── ExpressionError     a condition of the router cannot be read
    └── CpuTopologyError    the kernel's description of the processors cannot be read
"""

from __future__ import annotations

from cc_common.errors import CockpitError


class AgentError(CockpitError):
    """Root of what the agent raises on purpose."""


class NotAvailableError(AgentError):
    """A collector cannot work on this machine now; `advice` says what to change."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class NotPresentError(NotAvailableError):
    """The machine does not have the source of a collector, such as a GPU; no fault, and looked for again later."""


class ControlError(AgentError):
    """A request at the control socket that is refused, or that nobody answers; `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ExpressionError(AgentError):
    """A condition cannot be parsed; the text names the position."""


class CpuTopologyError(AgentError):
    """The description of the processors below /sys is missing or inconsistent."""
