"""The living demo: a backend, this machine for real, and a made-up cluster that keeps working beside it."""
