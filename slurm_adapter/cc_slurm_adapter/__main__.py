"""The command `cc-slurm-adapter`: small commands at once, all others through the command-line library."""

from __future__ import annotations

import errno
import os
import sys
from typing import List, Optional

from cc_common.errors import CockpitError, SettingsError
from cc_common.output import flush_stdout

EXIT_OK, EXIT_FAILED, EXIT_SETTINGS = 0, 1, 2


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command; its exit status: 2 for wrong settings, 1 for any other failure, each with one line of reason."""
    status = _run(sys.argv[1:] if arguments is None else arguments)
    error = flush_stdout()
    if error is None or status != EXIT_OK:
        return status
    return EXIT_FAILED if isinstance(error, BrokenPipeError) else _failed(_reason(error), EXIT_FAILED)


def _run(words: List[str]) -> int:
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return _failed("interrupted", EXIT_FAILED)
    except BrokenPipeError:  # whoever reads our output has seen enough
        return EXIT_FAILED
    except Exception as error:  # the last fence: people never see a traceback
        if os.environ.get("CC_SLURM_ADAPTER_DEBUG"):
            raise
        return _failed(_reason(error), EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)


def _reason(error: Exception) -> str:
    if isinstance(error, CockpitError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"needs the Python package {error.name!r}; install clustercockpit[slurm]"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    return f"internal error, set CC_SLURM_ADAPTER_DEBUG=1 to see where: {type(error).__name__}: {error}"


def _dispatch(words: List[str]) -> int:
    command = words[0] if words else ""
    if command in ("run", "once"):
        from cc_slurm_adapter.options import parse_options  # noqa: PLC0415 each command loads only what it needs
        from cc_slurm_adapter.service import run, run_once  # noqa: PLC0415 same

        if command == "run":
            options = parse_options("run", words[1:], description="Watch Slurm and send events until stopped.")
            return run(options, os.environ)
        options = parse_options("once", words[1:], description="Look at Slurm once, and send what has changed.")
        return run_once(options, os.environ)
    from cc_slurm_adapter.cli import main as typer_main  # noqa: PLC0415 typer takes time that `run` must not pay

    return typer_main(words)


def _failed(reason: str, status: int) -> int:
    sys.stderr.write("cc-slurm-adapter: " + " ".join(reason.split()) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
