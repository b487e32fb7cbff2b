"""Lines of batches: what they say, and whose samples they carry. Knows nothing of where samples are kept."""
