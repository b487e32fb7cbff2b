"""The job archive: what is kept of a finished job, and how it is computed, written and read."""
