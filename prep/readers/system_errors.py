"""What the system may run out of while a raw item is read: no item's fault."""

from __future__ import annotations

import errno
import os

from prep.errors import WorkerError

_WAYS_OUT = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or pass fewer --workers",
    errno.ENFILE: "close some of the other programs that have files open",
    errno.ENOMEM: "is there enough memory? pass fewer --workers",
}


def check_shortage(error: BaseException, source: str) -> None:
    """Refuse to blame a raw item for what the system ran out of: items that are sound would be put aside, all that are left of them.

    A `MemoryError` is not meant: an item can be too large for the memory that there is.

    Args:
        error: that came of reading the item.
        source: of the item.

    Raises:
        WorkerError: that is where the error came from in the first place.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _WAYS_OUT:
            raise WorkerError(
                f"{source}: cannot be read: {os.strerror(cause.errno)}; that is not the raw item's fault, so the build ends and nothing "
                f"was changed; {_WAYS_OUT[cause.errno]}"
            ) from error
        cause = cause.__cause__
