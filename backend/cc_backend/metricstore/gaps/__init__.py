"""Why samples are missing: what hosts sent and when, the reasons in words, the health of nodes."""
