"""The command `cc-backend`."""

import os
import sys
from typing import Any

TRACEBACK_VARIABLE = "CC_BACKEND_TRACEBACK"
"""With this variable in the environment, internal errors show their traceback."""

_USAGE_ERROR = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; each error is one line on standard error.

    Exit status: 1 failure, 2 a setting or an argument is wrong, 130 interrupted.
    """
    try:
        status = _run()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        status = _failed(error)
    sys.exit(_flushed(status))


def _run() -> int:
    from typer.main import get_command  # noqa: PLC0415 - `main` reports an interrupt or a missing package

    from cc_backend.cli import app  # noqa: PLC0415

    try:
        status = get_command(app).main(prog_name="cc-backend", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        # These classes moved between versions of typer and click; their names and methods did not.
        if type(error).__name__ == "Abort":  # Ctrl-C at a prompt
            return _INTERRUPTED
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return _USAGE_ERROR
        if not hasattr(error, "format_message"):
            raise
        return _report_usage_error(error)
    return status if isinstance(status, int) else 0


def _report_usage_error(error: Any) -> int:
    """Report a wrong command line in one line, with the command whose help explains it."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "cc-backend"
    sys.stderr.write(f"cc-backend: {' '.join(error.format_message().split()).rstrip('.')} (see {command} --help)\n")
    return _USAGE_ERROR


def _failed(error: Exception) -> int:
    """Report an error in one line, and return its exit status."""
    from cc_common.errors import CockpitError, SettingsError  # noqa: PLC0415

    if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
        return 1
    if isinstance(error, CockpitError):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("cc_"):
        text = f"the package {error.name!r} is missing; install the server's: pip install 'clustercockpit[backend]'"
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    else:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        text = f"internal error, which should be reported: {what} ({TRACEBACK_VARIABLE}=1 shows where)"
    sys.stderr.write(f"cc-backend: {text}\n")
    return 2 if isinstance(error, SettingsError) else 1


def _flushed(status: int) -> int:
    """The exit status once all output is flushed; a failure to write it is reported here, not by the interpreter."""
    from cc_common.output import flush_stdout  # noqa: PLC0415 - nothing is loaded before `main` can report what fails

    error = flush_stdout()
    return status if error is None or status else _failed(error)


if __name__ == "__main__":
    main()
