"""Who is asking, and what they may do: accounts, tokens, sessions, permissions, row rules."""
