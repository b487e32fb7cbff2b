"""Compresses the styles, scripts and pictures of the pages once, beside the files, so that no server has to."""

import shutil
import sys

from cc_backend.httpserver.compression import compress
from cc_backend.web.assets import CODING_SUFFIXES, PACKED, STATIC, asset_paths, packed_path


def main() -> int:
    """Write them all anew."""
    shutil.rmtree(PACKED, ignore_errors=True)
    total = 0
    for name in sorted(asset_paths()):
        for coding in CODING_SUFFIXES:
            path = packed_path(name, coding)
            path.parent.mkdir(parents=True, exist_ok=True)
            total += path.write_bytes(compress((STATIC / name).read_bytes(), coding, is_cached=True))
    print(f"compress_assets: {len(asset_paths())} files, each as {' and '.join(CODING_SUFFIXES)}, {total} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
