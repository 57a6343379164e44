"""What the death of a worker says: of the batch it was at, or, if many die with nothing in work, of workers as such."""

from __future__ import annotations

from loader.errors import WorkerError
from loader.workers.processes import Assignment, Process

MOST_FAILED_STARTS = 2
"""Workers that died one after the other before they had started; then none can be started."""

MOST_VAIN_DEATHS = 16
"""Workers that died one after the other, with no batch done in between nor begun: then it is no accident."""

MOST_VAIN_WAITS = 4
"""Workers that hung so, each for as long as a batch may take at most: sixteen would be half an hour."""

WITHOUT_WORKERS = "Pass workers=0 to read in the process that trains"


class Deaths:
    """Counts workers that died without having done anything."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failed_starts = 0
        self._vain = self._vain_waits = 0

    def note_start(self) -> None:
        """Note that a worker has started."""
        self._failed_starts = 0

    def note_batch(self) -> None:
        """Note that a worker has done a batch, or said why it cannot."""
        self._vain = self._vain_waits = 0

    def culprit(self, process: Process, begun: int, what: str, *, is_late: bool) -> Assignment | None:
        """Return the batch that a worker died of, as far as anybody knows; None if it had none in work.

        What lies unread in the pipe of a worker that was killed from outside, as for want of memory, is not to blame.

        Args:
            process: the worker, ended.
            begun: batches that it had begun.
            what: became of it.
            is_late: whether it was ended because it hung.

        Raises:
            WorkerError: it is one too many of those that die before they do anything.
        """
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                self._failed_starts = 0
                status = process.popen.returncode
                raise WorkerError(
                    f"worker processes cannot start (exit status {status}); their own message is on stderr. {WITHOUT_WORKERS}"
                )
            return None
        if begun > process.answered:
            return process.queue[0] if process.queue else None
        self._vain += 1
        self._vain_waits += is_late
        if self._vain >= MOST_VAIN_DEATHS or self._vain_waits >= MOST_VAIN_WAITS:
            deaths, self._vain, self._vain_waits = self._vain, 0, 0
            raise WorkerError(f"{deaths} worker processes in a row {what} before they began on a batch. {WITHOUT_WORKERS}")
        return None
