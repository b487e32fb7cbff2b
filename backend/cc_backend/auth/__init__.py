"""Authentication and authorization: accounts, tokens, sessions, permissions, row rules."""

__all__ = (
    "caller",
    "client_address",
    "csrf",
    "imported_passwords",
    "known_browsers",
    "passwords",
    "permissions",
    "row_rules",
    "sessions",
    "signatures",
    "tables",
    "token_expiry",
    "token_keys",
    "tokens",
    "users",
)
