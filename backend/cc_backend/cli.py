"""The command line of the backend.

Exit status: 0 done; 1 it could not be done; 2 a setting or an argument is wrong.
"""

import getpass
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file import FileArchive
from cc_backend.auth.keys import TokenKeys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users
from cc_backend.clusters import ClusterFiles, Level, check_file
from cc_backend.database import Database, open_database
from cc_backend.errors import BackendError, InvalidInput
from cc_backend.log import configure_logging
from cc_backend.schema import migrate
from cc_backend.settings import BackendSettings, load_settings
from cc_backend.setup import initialise
from cc_backend.storeservice.cli import app as metric_store_app
from cc_common import __version__
from cc_common.settings import Loaded, parse_duration, read_json, show

Config = Annotated[Path, typer.Option("--config", envvar="CC_BACKEND_CONFIG", help="The configuration file.")]
DEFAULT_CONFIG = Path("config.json")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
user_app = typer.Typer(no_args_is_help=True, help="Accounts of people.")
token_app = typer.Typer(no_args_is_help=True, help="Tokens of programs.")
cluster_app = typer.Typer(no_args_is_help=True, help="Descriptions of clusters.")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(cluster_app, name="cluster")
app.add_typer(metric_store_app, name="metric-store")


@app.callback()
def root() -> None:
    """The server of ClusterCockpit: takes samples and jobs, keeps them, shows them."""


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="A folder, made if it does not exist.")]) -> None:
    """Make a folder from which `serve` works at once, with keys of its own."""
    config = initialise(directory)
    loaded = _load(config)
    with _database(loaded.value):
        pass
    typer.echo(
        f"Made {config}. What comes next:\n"
        f"  cc-agent topology > cluster.json           on a compute node; look at it\n"
        f"  cc-backend cluster add --config {config} cluster.json\n"
        f"  cc-backend user add --config {config} NAME --role admin\n"
        f"  cc-backend serve --config {config}"
    )


@app.command()
def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Serve the API and the pages until SIGTERM or Ctrl-C."""
    from cc_backend import server  # noqa: PLC0415 - the other commands need no server
    from cc_backend.externalstore import places_of  # noqa: PLC0415

    configure_logging()
    loaded = _load(config)
    for warning in loaded.warnings:
        typer.echo(f"cc-backend: {warning}", err=True)
    TokenKeys.from_base64(private=loaded.value.auth.jwts.private_key, public=loaded.value.auth.jwts.public_key)
    with _database(loaded.value):
        pass  # what cannot be opened is better said here, once, than by a process that dies and dies again
    FileArchive(Path(loaded.value.archive.path))
    server.listen_address(loaded.value.main.addr)
    places_of(loaded.value.metric_store_external)
    server.become_server(config)


@app.command("show-config")
def show_config(config: Config = DEFAULT_CONFIG) -> None:
    """Print each setting, its value and where the value came from."""
    loaded = _load(config)
    typer.echo(show(loaded))
    for warning in loaded.warnings:
        typer.echo(f"note: {warning}", err=True)


@app.command()
def capacity(
    config: Config = DEFAULT_CONFIG,
    nodes: Annotated[int, typer.Option(help="Nodes of a cluster that is not configured, or that lists none.")] = 0,
    series: Annotated[int, typer.Option(help="Series of each such node: metrics times parts that they have.")] = 0,
    timestep: Annotated[int, typer.Option(help="Seconds between their samples.")] = 60,
) -> None:
    """Forecast the memory and disk that the metric store needs for the configured clusters, or for others."""
    from cc_backend.app import open_clusters  # noqa: PLC0415 - the other commands need none
    from cc_backend.metricstore.capacity import Nodes, forecast, forecast_text  # noqa: PLC0415
    from cc_backend.sizing import kinds_of  # noqa: PLC0415

    settings = _load(config).value
    if series and not nodes:
        raise InvalidInput("--series needs --nodes: how many nodes have so many")
    if series:
        kinds = [Nodes(nodes, series, timestep_s=timestep)]
    else:
        kinds = kinds_of(open_clusters(ClusterFiles(Path(settings.archive.path))), catch_all_nodes=nodes)
    store = settings.metric_store
    found = forecast(
        kinds,
        retention_s=int(store.retention_in_memory_s),
        hot_s=int(store.hot_s),
        snapshot_interval_s=int(store.snapshot_interval_s),
    )
    typer.echo(forecast_text(found))
    cap_bytes = store.memory_cap_gb * 10**9
    if cap_bytes and found.memory_bytes > cap_bytes:
        typer.echo(
            f"note: memory-cap is {store.memory_cap_gb} GB; beyond it the oldest samples are on disk only", err=True
        )


@app.command("import-checkpoints")
def import_checkpoints(
    directory: Annotated[Path, typer.Argument(help="The other store's checkpoint folder, with CLUSTER/HOST in it.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take over the samples that cc-metric-store or the reference's backend has left; the server must not run."""
    from cc_backend.app import open_clusters  # noqa: PLC0415 - the other commands need none
    from cc_backend.metricstore import checkpoints  # noqa: PLC0415
    from cc_backend.openstore import open_store  # noqa: PLC0415
    from cc_backend.storetable import node_table, store_table  # noqa: PLC0415

    configure_logging()
    settings = _load(config).value
    clusters, now_s = open_clusters(ClusterFiles(Path(settings.archive.path))), int(time.time())
    retention_s = int(settings.metric_store.retention_in_memory_s)
    with open_store(settings.metric_store, store_table(clusters), now_s, nodes=node_table(clusters)) as store:
        for report in checkpoints.import_checkpoints(
            store, directory, store_table(clusters), now_s=now_s, retention_s=retention_s
        ):
            if report.hosts % 100 == 99:  # noqa: PLR2004 now and then
                typer.echo(f"hosts={report.hosts} samples={report.samples}", err=True)
        store.snapshot(now_s)  # a tenth of the log that was written, and read much faster
    for line in report.lines():
        typer.echo(line)
    if not report.durable:
        raise BackendError("not all samples could be written to the log; make room, then run this again")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@user_app.command("add")
def user_add(
    name: str,
    config: Config = DEFAULT_CONFIG,
    role: Annotated[list[str] | None, typer.Option(help="user, manager, support, admin or api; repeatable.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="A project that a manager sees; repeatable.")] = None,
    full_name: Annotated[str, typer.Option(help="The person's name.")] = "",
    email: Annotated[str, typer.Option()] = "",
    generate: Annotated[bool, typer.Option("--generate", help="Make up a password and print it.")] = False,
) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    password = secrets.token_urlsafe(12) if generate else _ask_password(name)
    with _database(_load(config).value) as database:
        Users(database).add(
            name,
            role or ["user"],
            password=password,
            projects=project or [],
            full_name=full_name,
            email=email,
            now_s=int(time.time()),
        )
    if generate:
        typer.echo(password)


@user_app.command("list")
def user_list(config: Config = DEFAULT_CONFIG) -> None:
    """Print all accounts: name, roles, projects, where they come from."""
    with _database(_load(config).value) as database:
        for user in Users(database).list():
            projects = " ".join(user.projects) or "-"
            typer.echo(f"{user.name}\t{','.join(sorted(user.roles))}\t{projects}\t{user.source}")


@user_app.command("del")
def user_del(name: str, config: Config = DEFAULT_CONFIG) -> None:
    """Remove an account; its logins end at once, its jobs stay."""
    with _database(_load(config).value) as database:
        Users(database).remove(name)


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="The account; made as a service account if it does not exist.")],
    config: Config = DEFAULT_CONFIG,
    role: Annotated[list[str] | None, typer.Option(help="Roles of a new account and of the token; repeatable.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="write, jobs, read or admin; repeatable.")] = None,
    cluster: Annotated[
        list[str] | None, typer.Option(help="Only this cluster may be written, asked about and freed; repeatable.")
    ] = None,
    max_age: Annotated[str, typer.Option(help="Life of the token, such as 720h; empty as the settings say.")] = "",
) -> None:
    """Print a new token, and nothing else, on standard output."""
    settings = _load(config).value
    max_age_s = _duration("--max-age", max_age) if max_age else settings.auth.jwts.max_age_s
    with _database(settings) as database:
        users = Users(database)
        user = users.find(name)
        if user is None:
            user = users.add(name, role or ["api"], now_s=int(time.time()))
            typer.echo(f"made the service account '{name}'", err=True)
        token = _tokens(settings, database).issue(
            user, role or None, scope or None, cluster or (), max_age_s=max_age_s, now_s=time.time(), name=name
        )
    typer.echo(token)


@token_app.command("list")
def token_list(config: Config = DEFAULT_CONFIG) -> None:
    """Print all tokens: id, account, scopes, clusters, end, last use."""
    settings = _load(config).value
    with _database(settings) as database:
        for record in _tokens(settings, database).list():
            end = "revoked" if record.revoked_s else _time(record.expires_s, "never ends")
            scopes = ",".join(record.scopes) if record.scopes else "as its roles"
            used = _time(record.last_used_s, "never used")
            typer.echo(f"{record.jti}\t{record.user}\t{scopes}\t{','.join(record.clusters) or 'all'}\t{end}\t{used}")


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(help="The first column of `token list`.")], config: Config = DEFAULT_CONFIG
) -> None:
    """Make a token worthless at once."""
    settings = _load(config).value
    with _database(settings) as database:
        _tokens(settings, database).revoke(token_id, now_s=time.time())


@cluster_app.command("add")
def cluster_add(
    file: Annotated[Path, typer.Argument(help="A cluster.json, as `cc-agent topology` prints it.")],
    config: Config = DEFAULT_CONFIG,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the description of a known cluster.")] = False,
) -> None:
    """Add a cluster; a running server sees it within seconds."""
    settings = _load(config).value
    _check(file)
    archive = FileArchive(Path(settings.archive.path))
    document = read_json(file)
    name = str(document["name"])
    if name in archive.clusters() and not replace:
        raise InvalidInput(f"the cluster '{name}' exists already; --replace overwrites its description")
    archive.store_cluster(document)
    typer.echo(f"added cluster '{name}'; a running server sees it within seconds")


@cluster_app.command("check")
def cluster_check(file: Path) -> None:
    """Say what is wrong or odd in a cluster.json; exit status 1 if it cannot be used."""
    _check(file)
    typer.echo(f"{file}: can be used")


def _check(file: Path) -> None:
    findings = check_file(file)
    for finding in findings:
        typer.echo(f"{file}: {finding}", err=True)
    if any(finding.level is Level.ERROR for finding in findings):
        raise InvalidInput(f"{file} cannot be used as it is; see above")


def _load(config: Path) -> Loaded[BackendSettings]:
    return load_settings(config, environment=os.environ)


@contextmanager
def _database(settings: BackendSettings) -> Iterator[Database]:
    database = open_database(settings.main.db)
    try:
        migrate(database)
        yield database
    finally:
        database.close_all()


def _tokens(settings: BackendSettings, database: Database) -> Tokens:
    keys = settings.auth.jwts
    return Tokens(database, TokenKeys.from_base64(private=keys.private_key, public=keys.public_key))


def _duration(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise InvalidInput("the two passwords differ; nothing was changed")
    return password


def _time(time_s: int | None, missing: str) -> str:
    return missing if time_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))
