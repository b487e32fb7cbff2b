"""Commands for the tokens of programs."""

import time
from typing import Annotated

import typer

from cc_backend.auth.users import Users
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    duration_s,
    load,
    local_time,
    new_app,
    opened_database,
    print_table,
    tokens_in,
)

app = new_app("Tokens of programs.")


@app.command("create")
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
    settings = load(config).value
    max_age_s = duration_s("--max-age", max_age) if max_age else settings.auth.jwts.max_age_s
    with opened_database(settings) as database:
        users = Users(database)
        user = users.find(name)
        if user is None:
            user = users.add(name, role or ["api"], now_s=int(time.time()))
            typer.echo(f"made the service account '{name}'", err=True)
        token = tokens_in(settings, database).issue(
            user, role or None, scope or None, cluster or (), max_age_s=max_age_s, now_s=time.time(), name=name
        )
    typer.echo(token)


@app.command("list")
def token_list(config: Config = DEFAULT_CONFIG) -> None:
    """Print all tokens: id, account, scopes, clusters, end, last use."""
    settings = load(config).value
    with opened_database(settings) as database:
        rows = [
            (
                record.jti,
                record.user,
                ",".join(record.scopes) if record.scopes else "as its roles",
                ",".join(record.clusters) or "all",
                "revoked" if record.revoked_s else local_time(record.expires_s, "never ends"),
                local_time(record.last_used_s, "never used"),
            )
            for record in tokens_in(settings, database).list()
        ]
    print_table(("ID", "ACCOUNT", "SCOPES", "CLUSTERS", "ENDS", "LAST USED"), rows)


@app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(help="The first column of `token list`.")], config: Config = DEFAULT_CONFIG
) -> None:
    """Make a token worthless at once."""
    settings = load(config).value
    with opened_database(settings) as database:
        tokens_in(settings, database).revoke(token_id, now_s=time.time())
