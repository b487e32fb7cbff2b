"""The tables of accounts, sessions and tokens."""

# ruff: noqa: D106 - peewee asks for an inner class Meta

import peewee

from cc_backend.db.fields import BigIntegerField, JSONField, TextField


class UserRow(peewee.Model):
    """One account; `password` is an argon2id hash or NULL, `source` its origin, `disabled_s` when it was disabled."""

    name = TextField(primary_key=True)
    password = TextField(null=True)
    source = TextField(default="local")
    full_name = TextField(default="")
    email = TextField(default="")
    roles = JSONField(default=list)
    projects = JSONField(default=list)
    created_s = BigIntegerField(default=0)
    disabled_s = BigIntegerField(null=True)

    class Meta:
        table_name = "user"


class RemovedUserRow(peewee.Model):
    """A removed account, to invalidate its tokens of ClusterCockpit 1.5, which have no row of their own."""

    name = TextField(primary_key=True)
    removed_s = BigIntegerField()

    class Meta:
        table_name = "removed_user"


class SessionRow(peewee.Model):
    """One session; `secret_hash` is the SHA-256 of the cookie's value, which itself is never stored."""

    secret_hash = TextField(primary_key=True)
    user = peewee.ForeignKeyField(UserRow, on_delete="CASCADE", lazy_load=False)
    created_s = BigIntegerField()
    last_seen_s = BigIntegerField()

    class Meta:
        table_name = "session"


class KnownBrowserRow(peewee.Model):
    """A browser that has logged in to an account; `secret_hash` is the SHA-256 of its cookie's value."""

    secret_hash = TextField(primary_key=True)
    user = peewee.ForeignKeyField(UserRow, on_delete="CASCADE", lazy_load=False)
    used_s = BigIntegerField()

    class Meta:
        table_name = "known_browser"


class TokenRow(peewee.Model):
    """One issued token; the token itself is never stored. `expires_s` NULL means it does not expire."""

    jti = TextField(primary_key=True)
    user = TextField(index=True)
    name = TextField(default="")
    roles = JSONField(default=list)
    scopes = JSONField(null=True)
    clusters = JSONField(default=list)
    created_s = BigIntegerField()
    expires_s = BigIntegerField(null=True)
    last_used_s = BigIntegerField(null=True)
    revoked_s = BigIntegerField(null=True)

    class Meta:
        table_name = "token"


ALL = (UserRow, RemovedUserRow, SessionRow, KnownBrowserRow, TokenRow)
