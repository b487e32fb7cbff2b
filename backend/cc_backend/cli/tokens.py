"""Commands for the tokens of programs."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from cc_backend.auth.caller import Role, TokenScope
from cc_backend.auth.tokens import TokenRecord
from cc_backend.auth.users import User, Users
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    configured_clusters,
    format_local_time,
    load_config,
    nearest_name_hint,
    new_command_group,
    open_tokens,
    opened_database,
    parse_duration_option,
    print_table,
)
from cc_backend.errors import Conflict, InvalidInput

app = new_command_group("Tokens of programs.")

ALL_RIGHTS = "all"
"""Value of --scope for tokens without scopes, as ClusterCockpit 1.5 issues them."""


@app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="The account; made as a service account if it does not exist.")],
    config: Config = DEFAULT_CONFIG,
    role: Annotated[list[str] | None, typer.Option(help="Roles of a new account and of the token; repeatable.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="write, jobs, read or admin; repeatable; read if none is named. "
            "`all` makes a token as ClusterCockpit 1.5 issues them, which may do whatever its roles may."
        ),
    ] = None,
    cluster: Annotated[list[str] | None, typer.Option(help="Bind the token to this cluster; repeatable.")] = None,
    max_age: Annotated[str, typer.Option(help="Life of the token, such as 720h; empty as the settings say.")] = "",
) -> None:
    """Print a new token, and nothing else, on standard output; what it may and when it ends on standard error."""
    settings, now_s = load_config(config).value, time.time()
    max_age_s = parse_duration_option("--max-age", max_age) if max_age else settings.auth.jwts.max_age_s
    clusters = sorted(set(cluster or ()))
    _check_clusters(clusters, configured_clusters(settings))
    scopes = _scopes(scope or [TokenScope.READ])
    with opened_database(settings) as database:
        users, tokens = Users(database), open_tokens(settings, database)
        user = users.find(name)
        with database.write():  # no account is left behind if the token cannot be issued
            made = user is None
            if user is None:
                user = users.add(name, role or [Role.API], now_s=int(now_s))
            elif user.disabled:
                raise Conflict(f"the account '{name}' is disabled; `user enable` opens it again")
            token = tokens.issue(user, role or None, scopes, clusters, max_age_s=max_age_s, now_s=now_s, name=name)
        record = tokens.list(name)[0]
    if made:
        typer.echo(f"made the service account '{name}'", err=True)
    _print_rights(record)
    typer.echo(token)


def _check_clusters(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"--cluster: there is no cluster '{name}'{nearest_name_hint(name, known)}")


def _scopes(wanted: Sequence[str]) -> list[str] | None:
    if ALL_RIGHTS not in wanted:
        return list(wanted)
    if len(set(wanted)) > 1:
        raise InvalidInput(f"--scope {ALL_RIGHTS} cannot be combined with others: it includes them")
    return None


def _print_rights(record: TokenRecord) -> None:
    """Print the rights and the end of a new token on standard error."""
    may = (
        "scopes " + ", ".join(record.scopes) if record.scopes else "all that its roles may: " + ", ".join(record.roles)
    )
    where = "clusters " + ", ".join(record.clusters) if record.clusters else "all clusters"
    ends = f"ends {format_local_time(record.expires_s, '')}" if record.expires_s else "never ends"
    typer.echo(f"token {record.jti} of '{record.user}': {may}; {where}; {ends}", err=True)


@app.command("list")
def token_list(
    user: Annotated[str | None, typer.Option(help="Only the tokens of this account.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print all tokens: id, account, scopes, clusters, end, last use."""
    settings = load_config(config).value
    with opened_database(settings) as database:
        states = {account.name: account for account in Users(database).list()}
        rows = [
            (
                record.jti,
                record.user,
                ",".join(record.scopes) if record.scopes else "as its roles",
                ",".join(record.clusters) or "all",
                _end_text(record, states.get(record.user)),
                format_local_time(record.last_used_s, "never used"),
            )
            for record in open_tokens(settings, database).list(user)
        ]
    print_table(("ID", "ACCOUNT", "SCOPES", "CLUSTERS", "ENDS", "LAST USED"), rows)


def _end_text(record: TokenRecord, account: User | None) -> str:
    if record.revoked_s:
        return "revoked"
    if account is None:
        return "account removed"
    return "account disabled" if account.disabled else format_local_time(record.expires_s, "never ends")


@app.command("revoke")
def token_revoke(
    token_id: Annotated[list[str] | None, typer.Argument(help="Ids, the first column of `token list`.")] = None,
    user: Annotated[str | None, typer.Option(help="Revoke all tokens of this account instead.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make tokens worthless at once."""
    if bool(token_id) == (user is not None):
        raise InvalidInput("name either tokens by their ids, or with --user an account whose tokens shall all end")
    settings, now_s = load_config(config).value, time.time()
    with opened_database(settings) as database:
        tokens = open_tokens(settings, database)
        if user is not None:
            count = tokens.revoke_all(user, now_s=now_s)
            typer.echo(f"revoked {count} {'token' if count == 1 else 'tokens'} of '{user}'", err=True)
        with database.write():  # all or none
            for jti in token_id or ():
                tokens.revoke(jti, now_s=now_s)
