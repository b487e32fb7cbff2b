"""`cc-backend metric-store`: the store as a program of its own."""

import os
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path, typer.Option("--config", envvar="CC_METRIC_STORE_CONFIG", readable=False, help="The configuration file.")
]
DEFAULT_CONFIG = Path("config.json")

app = typer.Typer(invoke_without_command=True, help="The metric store as a server of its own.")


@app.callback()
def serve(context: typer.Context, config: Config = DEFAULT_CONFIG) -> None:
    """Serve samples until SIGTERM or Ctrl-C, as cc-metric-store does."""
    if context.invoked_subcommand is not None:
        return
    from cc_backend import server  # noqa: PLC0415 - the other commands need no server
    from cc_backend.runtime.lockfile import require_free_folder  # noqa: PLC0415
    from cc_backend.runtime.log import configure_logging  # noqa: PLC0415
    from cc_backend.storeservice.app import check_settings  # noqa: PLC0415
    from cc_backend.storeservice.server import MODULE  # noqa: PLC0415
    from cc_backend.storeservice.settings import load_settings  # noqa: PLC0415

    configure_logging()
    loaded = load_settings(config, environment=os.environ)
    for warning in loaded.warnings:
        typer.echo(f"cc-backend: {warning}", err=True)
    check_settings(loaded.value)
    require_free_folder(Path(loaded.value.metric_store.wal.directory))
    server.exec_server(config, MODULE)


@app.command("show-config")
def show_config(config: Config = DEFAULT_CONFIG) -> None:
    """Print each setting, its value and where the value came from."""
    from cc_backend.storeservice.settings import load_settings  # noqa: PLC0415
    from cc_common.settings import format_settings  # noqa: PLC0415

    loaded = load_settings(config, environment=os.environ)
    typer.echo(format_settings(loaded))
    for warning in loaded.warnings:
        typer.echo(f"note: {warning}", err=True)
