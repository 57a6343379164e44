"""A progress bar for notebooks: one line of text that is updated in place.

A widget would need ipywidgets in the kernel and in what shows the notebook, and a saved notebook has it as it began, at 0 %. The
carriage returns of a terminal's bar are kept by whatever runs a notebook without showing it, each state behind the one before.
"""

from __future__ import annotations

import io
import secrets
from typing import Any

from tqdm import tqdm


class NotebookBar(tqdm):  # type: ignore[type-arg]  # nothing is iterated over
    """A bar that a notebook shows, and that stays as it ended."""

    monitor_interval = 0
    """No thread that looks after bars: it would have to publish, too."""

    def __init__(self, shell: Any, *, total: int, desc: str, unit: str) -> None:
        """Show a bar.

        Args:
            shell: IPython's, in a kernel.
            total: items.
            desc: what is done with them.
            unit: what an item is called.
        """
        self._publish = shell.display_pub.publish
        self._id = secrets.token_hex(16)
        self._is_shown = False
        # The file is where tqdm ends and clears lines, of which there are none here.
        super().__init__(total=total, desc=desc, unit=unit, file=io.StringIO(), ascii=False, ncols=80, miniters=1, mininterval=0.5)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002  # tqdm's own names
        """Show the bar as it is now; called by tqdm."""
        text = str(self) if msg is None else msg
        self._publish(data={"text/plain": text}, metadata={}, transient={"display_id": self._id}, update=self._is_shown)
        self._is_shown = True
