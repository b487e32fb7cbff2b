"""Runs the metric store program as a server; `cc_backend.server` runs the backend."""

import os
import sys
from pathlib import Path

from cc_backend import server
from cc_backend.storeservice.settings import StoreServiceSettings, load_settings

MODULE = "cc_backend.storeservice.server"


def main() -> None:
    """Serve with the configuration file that the command line names."""
    sys.exit(server.run(lambda: load_settings(Path(sys.argv[1]), environment=os.environ).value, make_program))


def make_program(settings: StoreServiceSettings) -> server.ServerProgram:
    """The store with its background work running."""
    from cc_backend.maintenance.store_tasks import BackgroundWork  # noqa: PLC0415 - the command line does not need it
    from cc_backend.services import EXTENSION  # noqa: PLC0415
    from cc_backend.storeservice.app import create_app, http_application  # noqa: PLC0415
    from cc_backend.storeservice.tasks import periodic_tasks  # noqa: PLC0415

    app = create_app(settings)
    background = BackgroundWork(app.extensions[EXTENSION], periodic_tasks)
    background.start()
    return server.ServerProgram(http_application(app, settings), background.stop)


if __name__ == "__main__":
    main()
