"""The errors of the Slurm adapter.

CockpitError
└── AdapterError
    ├── SlurmError      a Slurm command failed, or its output is not valid
    ├── JournalError    the journal cannot be opened, read or written
    └── TopologyError   the description of a cluster cannot be read
"""

from __future__ import annotations

from cc_common.errors import CockpitError


class AdapterError(CockpitError):
    """Root of what the adapter raises on purpose."""


class SlurmError(AdapterError):
    """A Slurm command failed or its output is not valid; the text names the command."""


class JournalError(AdapterError):
    """The journal cannot be used."""


class TopologyError(AdapterError):
    """The description of a cluster is missing or cannot be read."""
