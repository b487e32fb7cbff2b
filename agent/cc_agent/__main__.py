"""The command `cc-agent`."""

from __future__ import annotations

import sys
from typing import List, Optional

from cc_agent.cli import PROGRAM


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command; its exit status: 2 for wrong settings, 1 for any other failure, each with one line of reason."""
    return PROGRAM.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
