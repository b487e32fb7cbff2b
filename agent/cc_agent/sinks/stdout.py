"""A sink that writes lines to standard output, standard error or a file."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional, Tuple

from cc_agent.errors import AgentError
from cc_agent.router import Batch
from cc_agent.sinks.base import SinkSettings, message_types_option
from cc_common.settings import option


@dataclass(frozen=True)
class StdoutSettings(SinkSettings):
    """Options of a sink of type stdout."""

    output_file: str = option("stdout", "stdout, stderr, or the path of a file to append to", key="output_file")
    message_types: Tuple[str, ...] = message_types_option()


class StdoutSink:
    """Writes each batch at once."""

    def __init__(self, name: str, settings: StdoutSettings) -> None:
        self.name = name
        self._target = settings.output_file
        self._file: Optional[BinaryIO] = None

    def start(self) -> None:
        """Open the file, if there is one. Raises AgentError if that is not possible."""
        if self._target in ("stdout", "stderr"):
            return
        try:
            self._file = Path(self._target).open("ab", buffering=0)  # noqa: SIM115 it stays open until close
        except OSError as error:
            raise AgentError(f"sink {self.name}: {self._target} cannot be written: {error.strerror}") from error

    def put(self, batch: Batch, /) -> None:
        """Write the lines."""
        if self._file is not None:
            self._file.write(batch.lines)
            return
        stream = sys.stderr.buffer if self._target == "stderr" else sys.stdout.buffer
        stream.write(batch.lines)
        stream.flush()

    def close(self, _deadline_s: float, /) -> None:
        """Sync and close the file."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
