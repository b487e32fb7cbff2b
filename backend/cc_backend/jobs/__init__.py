"""Jobs: their life cycle, search, tags and payloads, and the states of nodes."""
