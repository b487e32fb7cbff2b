"""Ids of removed rows, which SQLite would give again: it takes the maximum of those that are there, and one more.

AUTOINCREMENT prevents that, but only in a table that is made with it: a million jobs would have to be copied. Instead a
trigger keeps the id of a row that was the last one. PostgreSQL gives none again.
"""


def removed_id_statements(table: str) -> tuple[str, ...]:
    """The SQL statements that let SQLite remember the last id of a table with the key `id`."""
    trigger = f"""CREATE TRIGGER IF NOT EXISTS {table}_removed_id AFTER DELETE ON {table}
        WHEN OLD.id > COALESCE((SELECT MAX(id) FROM {table}), 0) BEGIN
        INSERT INTO removed_id (name, last) VALUES ('{table}', OLD.id)
        ON CONFLICT (name) DO UPDATE SET last = MAX(last, EXCLUDED.last); END"""  # noqa: S608 our own name
    return (
        "CREATE TABLE IF NOT EXISTS removed_id (name TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
        trigger,
    )


def next_id(table: str) -> str:
    """The SQL expression of an id that no row of such a table has or had, for SQLite."""
    return (
        f"(SELECT 1 + MAX(COALESCE((SELECT MAX(id) FROM {table}), 0), "  # noqa: S608 our own name
        f"COALESCE((SELECT last FROM removed_id WHERE name = '{table}'), 0)))"
    )
