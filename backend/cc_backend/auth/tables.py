"""The tables of accounts, sessions and tokens."""

# ruff: noqa: D106 - peewee asks for an inner class Meta

import peewee

from cc_backend.jsonfield import JSONField


class UserRow(peewee.Model):
    """One account; `password` is an argon2id hash or NULL, `source` says its maker, `disabled_s` when it was closed."""

    name = peewee.TextField(primary_key=True)
    password = peewee.TextField(null=True)
    source = peewee.TextField(default="local")
    full_name = peewee.TextField(default="")
    email = peewee.TextField(default="")
    roles = JSONField(default=list)
    projects = JSONField(default=list)
    created_s = peewee.BigIntegerField(default=0)
    disabled_s = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "user"


class RemovedUserRow(peewee.Model):
    """An account that was removed, and when: tokens of the reference, of which there is no row, end with it."""

    name = peewee.TextField(primary_key=True)
    removed_s = peewee.BigIntegerField()

    class Meta:
        table_name = "removed_user"


class SessionRow(peewee.Model):
    """One login; `secret_hash` is the SHA-256 of the cookie's value, which itself is never stored."""

    secret_hash = peewee.TextField(primary_key=True)
    user = peewee.ForeignKeyField(UserRow, on_delete="CASCADE", lazy_load=False)
    created_s = peewee.BigIntegerField()
    last_seen_s = peewee.BigIntegerField()

    class Meta:
        table_name = "session"


class KnownBrowserRow(peewee.Model):
    """A browser that has logged in to an account; `secret_hash` is the SHA-256 of its cookie's value."""

    secret_hash = peewee.TextField(primary_key=True)
    user = peewee.ForeignKeyField(UserRow, on_delete="CASCADE", lazy_load=False)
    used_s = peewee.BigIntegerField()

    class Meta:
        table_name = "known_browser"


class TokenRow(peewee.Model):
    """One issued token; the token itself is never stored. `expires_s` NULL means it does not expire."""

    jti = peewee.TextField(primary_key=True)
    user = peewee.TextField(index=True)
    name = peewee.TextField(default="")
    roles = JSONField(default=list)
    scopes = JSONField(null=True)
    clusters = JSONField(default=list)
    created_s = peewee.BigIntegerField()
    expires_s = peewee.BigIntegerField(null=True)
    last_used_s = peewee.BigIntegerField(null=True)
    revoked_s = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "token"


ALL = (UserRow, RemovedUserRow, SessionRow, KnownBrowserRow, TokenRow)
