"""The one pool of a process, whose workers all its feeds share."""

from __future__ import annotations

import os

from loader.workers.pool.pool import Pool

_shared: list[Pool] = []


def shared_pool() -> Pool:
    """Return the pool that the feeds of this process share."""
    if not _shared or _shared[0]._owner != os.getpid():  # noqa: SLF001  # a fork has no use for its parent's
        _shared[:] = [Pool()]
    return _shared[0]
