"""What a job can be at most. Beyond it an event is refused, so that all that is stored can be read, shown and sent."""

import numpy as np

CLOCK_TOLERANCE_S = 600
"""How far in the future an event may lie, as for samples: the clocks of two machines are seldom further apart."""

MAX_RESOURCES = 16_384
"""Hosts of one job: more than the largest machines have nodes of one kind, and little enough for one page."""

MAX_WALLTIME_S = 100 * 366 * 86_400
MAX_DURATION_S = 10_000_000_000
MAX_START_S = 32_503_680_000
"""The year 3000: later times, such as milliseconds taken for seconds, fit no calendar of a page."""

MAX_COUNT = 2**53 - 1
"""Whole numbers beyond are not exact in the JSON of browsers."""

MAX_ENERGY_KWH = 1e12
MAX_FOOTPRINT = float(np.finfo(np.float32).max)
MAX_FOOTPRINT_VALUES = 1000
MAX_TAGS = 1000
MAX_NAME = 256
MAX_CONFIGURATION = 4096
