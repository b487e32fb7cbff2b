"""Which clusters a batch names, seen without reading its lines; in C where the extension was built."""

import re
from collections.abc import Collection

from cc_backend.metricstore.lines.kernel import HAS_NATIVE

if HAS_NATIVE:
    from cc_backend.metricstore import _kernel

_PLAIN = re.compile(r"[\w.-]+\Z")  # what is written in one way only: nothing of it is ever escaped


def only_clusters(batch: bytes, names: Collection[str], *, native: bool = HAS_NATIVE) -> bool:
    """Whether plainly every `cluster=` in the batch is a tag with one of these names.

    False may also mean that it cannot be seen this way. No other spelling of the tag exists, as the protocol has no
    escape for its letters.
    """
    plain = tuple(name.encode() for name in names if _PLAIN.match(name))
    if native:
        return _kernel.only_clusters(batch, plain)
    tags = (b",cluster=%b%b" % (name, end) for name in plain for end in (b",", b" "))
    return batch.count(b"cluster=") == sum(batch.count(tag) for tag in tags)
