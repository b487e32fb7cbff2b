"""Shared parts of the commands: configuration, database, tables of text."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.auth.tokens import Tokens
from cc_backend.db.database import Database
from cc_backend.db.opening import database_path, open_database
from cc_backend.errors import ArchiveUnavailable, BackendError, InvalidInput, Unavailable
from cc_backend.migrations import migrate
from cc_backend.settings import BackendSettings, load_settings
from cc_backend.startup.data_locks import require_matching_wal
from cc_common.nearest_name import did_you_mean
from cc_common.settings import LoadedSettings, parse_duration

Config = Annotated[
    Path, typer.Option("--config", envvar="CC_BACKEND_CONFIG", readable=False, help="The configuration file.")
]
DEFAULT_CONFIG = Path("config.json")
_MAX_NAMES_SHOWN = 10


def new_command_group(help_text: str, *, completion: bool = False) -> typer.Typer:
    """A group of commands with the common style of help."""
    return typer.Typer(
        no_args_is_help=True,
        help=help_text,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def load_config(config: Path) -> LoadedSettings[BackendSettings]:
    """The settings in a file with the origin of each value; raises SettingsError."""
    return load_settings(config, environment=os.environ)


def configured_clusters(settings: BackendSettings) -> list[str]:
    """The sorted names of the clusters that have a cluster.json; folders with jobs only are left out."""
    archive = FileArchive(Path(settings.archive.path))
    return [name for name in archive.clusters() if (archive.root / name / "cluster.json").is_file()]


@contextmanager
def opened_database(settings: BackendSettings) -> Iterator[Database]:
    """The job database with its schema upgraded, closed after the block; raises BackendError with its address."""
    path = database_path(settings.main.db)
    if path is not None:
        require_matching_wal(path)
    database = open_database(settings.main.db, password=settings.main.db_password)
    log = logging.getLogger(Database.__module__)
    log.addFilter(_is_below_error)
    try:
        migrate(database)
        yield database
    except ArchiveUnavailable:
        raise
    except Unavailable as error:
        raise BackendError(f"{database.address}: {error}{_describe_cause(error)}") from error
    finally:
        log.removeFilter(_is_below_error)
        database.close_all()


def _describe_cause(error: BaseException) -> str:
    """What the driver said, in parentheses: its words name the host, the role and what is wrong with them."""
    return "" if error.__cause__ is None else f" ({str(error.__cause__).strip()})"


def _is_below_error(record: logging.LogRecord) -> bool:
    """Log filter that drops errors: a command reports a fault of the database itself."""
    return record.levelno < logging.ERROR


def open_tokens(settings: BackendSettings, database: Database) -> Tokens:
    """The tokens in the database, with the keys that the settings name."""
    keys = settings.auth.jwts
    return Tokens(database, TokenKeys.from_base64(private=keys.private_key, public=keys.public_key))


def parse_duration_option(name: str, text: str) -> float:
    """Seconds of an option's duration such as `720h`; raises InvalidInput that names the option."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None


def nearest_name_hint(name: str, known: Sequence[str]) -> str:
    """End of a sentence about an unknown name: the most similar known name, or the known names."""
    if hint := did_you_mean(name, known):
        return hint
    return f"; known are {', '.join(known[:_MAX_NAMES_SHOWN])}" if known else "; none is configured, see `cluster add`"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a header and rows: aligned on a terminal, separated by tabs in a pipe."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo("\t".join(line))
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def format_local_time(time_s: float | None, missing: str) -> str:
    """A Unix time as `2026-01-31 08:15` in the local time zone, or `missing` if it is None."""
    return missing if time_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))
