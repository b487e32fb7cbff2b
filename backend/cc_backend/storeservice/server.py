"""Runs the metric store as a server; see `cc_backend.server`, which does the same for the backend."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cc_backend import server
from cc_backend.storeservice.settings import load_settings

if TYPE_CHECKING:
    from flask import Flask

MODULE = "cc_backend.storeservice.server"


def main() -> None:
    """Serve the configuration that the command line names."""
    from cc_backend.log import configure_logging  # noqa: PLC0415 - not needed by whoever only asks for the module

    configure_logging()
    config = Path(sys.argv[1])
    settings = load_settings(config, environment=os.environ).value.main
    listening = server.Listening(settings.addr, settings.threads, settings.https_cert_file, settings.https_key_file)
    server.run(f"{MODULE}:application", config, listening)


def application() -> "Flask":
    """The application of the serving process, with its background work running; called by granian."""
    from cc_backend.storeservice.app import create_app  # noqa: PLC0415 - the parent does not need it
    from cc_backend.storeservice.background import Background  # noqa: PLC0415
    from cc_backend.storeservice.services import EXTENSION  # noqa: PLC0415

    config = server.settle_in()
    app = create_app(load_settings(config, environment=os.environ).value)
    server.at_end(Background(app.extensions[EXTENSION]).stop)
    return app


if __name__ == "__main__":
    main()
