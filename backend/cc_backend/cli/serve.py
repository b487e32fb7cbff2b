"""Commands of the server itself: create its folder, start it, show its settings."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.auth.client_address import is_loopback
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config, opened_database
from cc_backend.cli.init_folder import create_backend_folder
from cc_backend.runtime.log import configure_logging
from cc_backend.settings import ADDRESS_VARIABLE, SAMPLE_KEY_ADVICE, SAMPLE_PUBLIC_KEY
from cc_backend.startup.data_locks import missing_database_warning, require_unused
from cc_common.errors import SettingsError
from cc_common.settings import format_settings


def init(directory: Annotated[Path, typer.Argument(help="A folder, made if it does not exist.")]) -> None:
    """Make a folder from which `serve` works at once, with keys of its own."""
    config = create_backend_folder(directory)
    with opened_database(load_config(config).value):
        pass
    typer.echo(
        f"Made {config}. What comes next:\n"
        f"  cc-agent topology --cluster NAME > cluster.json   on a compute node; look at it\n"
        f"  cc-backend cluster add --config {config} cluster.json\n"
        f"  cc-backend token create agents --config {config} --scope write --cluster NAME > agent-token\n"
        f"  cc-backend user add --config {config} ada --role admin\n"
        f"  cc-backend serve --config {config}"
    )


def serve(
    config: Config = DEFAULT_CONFIG,
    addr: Annotated[str, typer.Option(help="Address and port to listen on, in place of main.addr.")] = "",
) -> None:
    """Serve the API and the pages until SIGTERM or Ctrl-C."""
    from cc_backend import server  # noqa: PLC0415 - the other commands need no server
    from cc_backend.httpserver.listening import listen_address  # noqa: PLC0415
    from cc_backend.jobdata.external_store import parse_endpoints  # noqa: PLC0415

    configure_logging()
    if addr:
        os.environ[ADDRESS_VARIABLE] = addr  # the server reads the settings again, with this environment
    loaded = load_config(config)
    for warning in loaded.warnings:
        typer.echo(f"cc-backend: {warning}", err=True)
    TokenKeys.from_base64(private=loaded.value.auth.jwts.private_key, public=loaded.value.auth.jwts.public_key)
    if missing := missing_database_warning(loaded.value):
        typer.echo(f"cc-backend: {missing}", err=True)
    with opened_database(loaded.value):
        pass  # report errors here once, instead of in a server that is restarted again and again
    require_unused(loaded.value)
    host, _ = listen_address(loaded.value.main.addr)
    if loaded.value.auth.jwts.public_key == SAMPLE_PUBLIC_KEY and not is_loopback(host):
        raise SettingsError("auth.jwts.public-key", f"auth.jwts.public-key: {SAMPLE_KEY_ADVICE}, or serve on localhost")
    parse_endpoints(loaded.value.metric_store_external)
    server.exec_server(config)


def show_config(config: Config = DEFAULT_CONFIG) -> None:
    """Print each setting, its value and where the value came from."""
    loaded = load_config(config)
    typer.echo(format_settings(loaded))
    for warning in loaded.warnings:
        typer.echo(f"note: {warning}", err=True)
