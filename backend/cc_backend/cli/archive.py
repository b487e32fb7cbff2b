"""Commands for the job archive."""

import typer

from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config, new_command_group, opened_database
from cc_backend.jobs.archive_queue import ArchiveQueue

app = new_command_group("The archive of finished jobs.")


@app.command("retry")
def archive_retry(config: Config = DEFAULT_CONFIG) -> None:
    """Try again to archive the jobs that were given up; a running server begins within seconds."""
    with opened_database(load_config(config).value) as database:
        jobs = ArchiveQueue(database).retry_failed()
    typer.echo(f"{jobs} {'job waits' if jobs == 1 else 'jobs wait'} to be archived again")
