"""Scheduled work: archiving, retention, and what else happens without anybody asking."""
