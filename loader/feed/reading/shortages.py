"""What the system may run out of while a shard is read, and file servers that are gone: no shard's fault."""

from __future__ import annotations

import errno

from loader.errors import ShortageError

_WAYS_OUT = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or close what else this process has open",
    errno.ENFILE: "close some of the other programs that have files open",
    errno.ENOMEM: "free some memory: a smaller batch_size or max_queue_size, fewer workers, fewer other programs",
    errno.ESTALE: "the file server has replaced the folder: mount it again, and start again",
    errno.ENOTCONN: "the file system is not connected any more: mount it again, and start again",
}


def check_shortage(error: BaseException | None, what: str) -> None:
    """Refuse to blame a shard for what the system ran out of: with `on_error="skip"`, others would stand for samples that are sound.

    A `MemoryError` passes by: nothing takes it for a damaged shard.

    Args:
        error: that came of reading.
        what: was read, for the message.

    Raises:
        ShortageError: that is where the error came from in the first place.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _WAYS_OUT:
            raise ShortageError(what, cause.errno, _WAYS_OUT[cause.errno]) from error
        cause = cause.__cause__
