"""Resource usage of this process, under the names that all Prometheus clients use."""

import os
import time
from pathlib import Path

from cc_backend.telemetry.exposition import MetricFamily, single_sample_family

_PROC = Path("/proc/self")
_RESIDENT_FIELD = 1  # proc(5), statm: size, resident, ... in pages
_STARTTIME_FIELD = 19  # proc(5), stat: field 22, counted from the one after the command's closing bracket
_THREADS_FIELD = 17


def process_families() -> list[MetricFamily]:
    """Memory, processor time, open files, threads and start time of this process."""
    resident_pages = int((_PROC / "statm").read_text().split()[_RESIDENT_FIELD])
    # The command may contain blanks and brackets, so the fields are counted from its end.
    stat = (_PROC / "stat").read_text().rpartition(")")[2].split()
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    start_s = boot_s + int(stat[_STARTTIME_FIELD]) / os.sysconf("SC_CLK_TCK")
    return [
        single_sample_family(
            "process_resident_memory_bytes", "gauge", "Memory in RAM.", resident_pages * os.sysconf("SC_PAGE_SIZE")
        ),
        single_sample_family(
            "process_cpu_seconds_total", "counter", "Processor time used, user and system.", time.process_time()
        ),
        single_sample_family(
            "process_open_fds", "gauge", "Open file descriptors.", sum(1 for _ in (_PROC / "fd").iterdir())
        ),
        single_sample_family("process_threads", "gauge", "Threads.", int(stat[_THREADS_FIELD])),
        single_sample_family("process_start_time_seconds", "gauge", "Start, in Unix seconds.", round(start_s, 2)),
    ]
