"""Compresses the styles, scripts and pictures of the pages once, beside the files, so that no server has to."""

import shutil
import sys

from cc_backend.httpserver.compression import encoded
from cc_backend.web.assets import PACKED, STATIC, SUFFIXES, asset_paths, packed_path


def main() -> int:
    """Write them all anew."""
    shutil.rmtree(PACKED, ignore_errors=True)
    total = 0
    for name in sorted(asset_paths()):
        for coding in SUFFIXES:
            path = packed_path(name, coding)
            path.parent.mkdir(parents=True, exist_ok=True)
            total += path.write_bytes(encoded((STATIC / name).read_bytes(), coding, kept=True))
    print(f"compress_assets: {len(asset_paths())} files, each as {' and '.join(SUFFIXES)}, {total} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
