"""Samples in memory: who has which row, hot and compressed blocks, window by window."""
