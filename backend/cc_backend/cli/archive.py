"""Commands for the job archive."""

import typer

from cc_backend.cli.common import DEFAULT_CONFIG, Config, load, new_app, opened_database
from cc_backend.jobs.job_queries import JobSearch

app = new_app("The archive of finished jobs.")


@app.command("retry")
def archive_retry(config: Config = DEFAULT_CONFIG) -> None:
    """Try again to archive the jobs that were given up; a running server begins within seconds."""
    with opened_database(load(config).value) as database:
        jobs = JobSearch(database).retry_failed_archiving()
    typer.echo(f"{jobs} {'job waits' if jobs == 1 else 'jobs wait'} to be archived again")
