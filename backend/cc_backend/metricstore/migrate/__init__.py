"""Taking samples over from other metric stores."""
