"""Finds applications and classes of jobs by scripts and statistics. Pure, but for reading the files of a site."""

__all__ = (
    "detectors",
    "hint_messages",
    "tagger_folder",
)
