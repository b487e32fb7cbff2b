"""Limits of a job. Events beyond them are rejected, so that everything stored can be read, shown and sent."""

import numpy as np

CLOCK_TOLERANCE_S = 600
"""Maximum time of an event in the future, as for samples: the clocks of two machines seldom differ more."""

MAX_RESOURCES = 16_384
"""Maximum hosts of a job: more than the largest machines have nodes of one kind, and few enough for one page."""

MAX_WALLTIME_S = 100 * 366 * 86_400
MAX_DURATION_S = 10_000_000_000
MAX_START_S = 32_503_680_000
"""The year 3000: later times, such as milliseconds taken for seconds, cannot be shown as a date."""

MAX_COUNT = 2**53 - 1
"""Larger integers are not exact in the JSON of browsers."""

MAX_ENERGY_KWH = 1e12
MAX_FOOTPRINT = float(np.finfo(np.float32).max)
MAX_FOOTPRINT_VALUES = 1000
MAX_TAGS = 1000
MAX_NAME = 256
MAX_CONFIGURATION = 4096
MAX_META_KEYS = 1000
MAX_META_DATA_BYTES = 16 << 20
"""Maximum keys and values of a job's meta data in UTF-8: a job script at the start, and what was added since."""
