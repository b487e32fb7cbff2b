"""The command `cc-backend`."""

import os
import sys

TRACEBACK_VARIABLE = "CC_BACKEND_TRACEBACK"
"""Set in the environment, defects of this program show where they are."""

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; whatever goes wrong is one line on standard error.

    Exit status: 1 it could not be done, 2 a setting or an argument is wrong, 130 somebody interrupted it.
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
    from cc_backend.cli import app  # noqa: PLC0415 - an interrupt or a missing package is reported by `main`

    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _failed(error: Exception) -> int:
    """Print what went wrong in one line; the exit status that says so."""
    from cc_common.errors import CockpitError, SettingsError  # noqa: PLC0415

    if isinstance(error, BrokenPipeError):  # whoever read the output has gone
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
    """The exit status once all output is out; what cannot be written is reported here and not by the interpreter."""
    from cc_common.output import flush_stdout  # noqa: PLC0415 - nothing is loaded before `main` can report what fails

    error = flush_stdout()
    return status if error is None or status else _failed(error)


if __name__ == "__main__":
    main()
