"""The distinct job scripts: each text is stored once, and jobs name it by its number.

Users submit the same script thousands of times, so that a search reads few texts, and a job more costs some bytes. They
are for the search only: what a job shows is in its meta data. What changes meta data changes them in the same
transaction.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from cc_backend.db.database import Database

SCRIPT_KEY = "jobScript"
MAX_SEARCHED_CHARACTERS = 65_536
"""What lies behind so many characters of a script is not searched."""

_DIGEST_BYTES = 16
_FIND = "SELECT id FROM script WHERE digest = ?"
_INSERT = "INSERT INTO script (digest, text) VALUES (?, ?)"
_LINK = """INSERT INTO job_script (job_id, script_id) VALUES (?, ?)
ON CONFLICT (job_id) DO UPDATE SET script_id = EXCLUDED.script_id WHERE job_script.script_id <> EXCLUDED.script_id"""
_UNLINK = "DELETE FROM job_script WHERE job_id = ?"


def script_of(meta_data: Mapping[str, str] | None) -> str:
    """The text of the meta data that is searched, empty without a script."""
    script = (meta_data or {}).get(SCRIPT_KEY, "")
    if not script:
        return ""
    # neither engine has a character 0 in a text, and half a surrogate pair is none
    return script[:MAX_SEARCHED_CHARACTERS].replace("\0", " ").encode("utf-8", "replace").decode()


def link_scripts(database: Database, scripts: Iterable[tuple[int, str]]) -> None:
    """Let jobs, by their ids, have these scripts, as `script_of` returns them; in the transaction of the change."""
    numbers: dict[str, int] = {}
    links = []
    for job, script in scripts:
        if script not in numbers:
            numbers[script] = _number(database, script)
        links.append((job, numbers[script]))
    if links:
        database.execute_many(_LINK, links)


def replace_script(database: Database, job: int, meta_data: Mapping[str, str] | None) -> None:
    """Let a job have the script of its new meta data, or none; in the transaction of the change."""
    if script := script_of(meta_data):
        link_scripts(database, [(job, script)])
    else:
        database.run_sql(_UNLINK, job)


def _number(database: Database, script: str) -> int:
    digest = blake2b(script.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    known = database.first_row(_FIND, digest)
    return database.insert_row(_INSERT, (digest, script)) if known is None else int(known[0])
