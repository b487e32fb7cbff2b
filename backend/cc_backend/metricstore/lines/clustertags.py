"""Which clusters a batch names, seen without reading its lines; in C where the extension was built."""

from collections.abc import Collection

from cc_backend.metricstore.lines.kernel import HAS_NATIVE

if HAS_NATIVE:
    from cc_backend.metricstore import _kernel


def only_clusters(batch: bytes, names: Collection[str], *, native: bool = HAS_NATIVE) -> bool:
    """Whether plainly every `cluster=` in the batch is a tag with one of these names.

    False may also mean that it cannot be seen this way. No other spelling of the tag exists, as the protocol has no
    escape for its letters.
    """
    plain = tuple(name.encode() for name in names if name.isidentifier())
    if native:
        return _kernel.only_clusters(batch, plain)
    tags = (b",cluster=%b%b" % (name, end) for name in plain for end in (b",", b" "))
    return batch.count(b"cluster=") == sum(batch.count(tag) for tag in tags)
