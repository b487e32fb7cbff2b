"""The command `cc-backend`."""

import sys

from cc_common.errors import CockpitError


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit status 1 or 2."""
    from cc_backend.cli import app  # noqa: PLC0415 - keeps `python -m cc_backend` importable without side effects
    from cc_common.errors import SettingsError  # noqa: PLC0415

    try:
        app()
    except SettingsError as error:
        sys.stderr.write(f"cc-backend: {error}\n")
        sys.exit(2)
    except CockpitError as error:
        sys.stderr.write(f"cc-backend: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
