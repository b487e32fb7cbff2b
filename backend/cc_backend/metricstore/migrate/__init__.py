"""Taking samples over from other metric stores."""

__all__ = ("checkpoint_import",)
