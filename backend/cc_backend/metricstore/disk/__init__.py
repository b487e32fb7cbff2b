"""The store's folder: write-ahead log, snapshots, and how both come back after a start."""
