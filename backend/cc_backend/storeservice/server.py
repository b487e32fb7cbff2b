"""Runs the metric store program as a server; `cc_backend.server` runs the backend."""

import os
import sys
from pathlib import Path

from cc_backend import server
from cc_backend.storeservice.settings import StoreServiceSettings, load_settings

MODULE = "cc_backend.storeservice.server"


def main() -> None:
    """Serve with the configuration file that the command line names."""
    sys.exit(
        server.run(lambda: load_settings(Path(sys.argv[1]), environment=os.environ).value, listen_config, make_program)
    )


def listen_config(settings: StoreServiceSettings) -> server.ListenConfig:
    """How the store listens."""
    main_settings = settings.main
    return server.ListenConfig(
        main_settings.addr,
        main_settings.threads,
        main_settings.max_batch_bytes,
        main_settings.https_cert_file,
        main_settings.https_key_file,
    )


def make_program(settings: StoreServiceSettings) -> server.ServerProgram:
    """The store with its background work running."""
    from cc_backend.runtime.store_tasks import BackgroundWork  # noqa: PLC0415 - the command line does not need it
    from cc_backend.storeservice.app import create_app, http_application  # noqa: PLC0415
    from cc_backend.storeservice.services import EXTENSION  # noqa: PLC0415
    from cc_backend.storeservice.tasks import periodic_tasks  # noqa: PLC0415

    app = create_app(settings)
    background = BackgroundWork(app.extensions[EXTENSION], periodic_tasks)
    background.start()
    return server.ServerProgram(http_application(app, settings), background.stop)


if __name__ == "__main__":
    main()
