"""Commands for the logins of people on the pages."""

import time
from typing import Annotated

import typer

from cc_backend.auth.sessions import Sessions
from cc_backend.auth.users import Users
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    format_local_time,
    load_config,
    new_command_group,
    opened_database,
    print_table,
)
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.settings import BackendSettings

app = new_command_group("Logins of people.")


@app.command("list")
def session_list(
    user: Annotated[str | None, typer.Option(help="Only the logins of this account.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print the logins that have not ended: id, account, when they began, were last used, and end at the latest."""
    settings = load_config(config).value
    with opened_database(settings) as database:
        if user is not None:
            Users(database).get(user)
        rows = [
            (
                login.id,
                login.user,
                *(format_local_time(at_s, "-") for at_s in (login.created_s, login.last_seen_s, login.ends_s)),
            )
            for login in _sessions(settings, database).list(time.time(), user)
        ]
    print_table(("ID", "ACCOUNT", "BEGAN", "LAST USED", "ENDS"), rows)


@app.command("end")
def session_end(
    session_id: Annotated[str | None, typer.Argument(help="The first column of `session list`.")] = None,
    user: Annotated[str | None, typer.Option(help="End all logins of this account instead.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """End a login, or all logins of an account, at once."""
    if (session_id is None) == (user is None):
        raise InvalidInput("name either one login by its id, or with --user an account whose logins shall all end")
    settings = load_config(config).value
    with opened_database(settings) as database:
        sessions = _sessions(settings, database)
        if user is not None:
            Users(database).get(user)
            ended = sessions.end_all(user)
            typer.echo(f"ended {ended} {'login' if ended == 1 else 'logins'} of '{user}'", err=True)
        else:
            sessions.end_by_id(session_id or "")


def _sessions(settings: BackendSettings, database: Database) -> Sessions:
    main = settings.main
    return Sessions(database, max_age_s=main.session_max_age_s, idle_s=main.session_idle_s)
