"""A living ClusterCockpit on this machine: backend, agent, a job that really loads it, and a made-up cluster beside it.

usage: demo.py [--directory DIR] [--port PORT] [--job-seconds N]
"""

import sys

from cc_demo.live.command import main

if __name__ == "__main__":
    sys.exit(main())
