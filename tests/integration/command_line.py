"""Running `prep` and looking at what it left behind: what every test of the command line shares."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from prep.cli.app import run

STATE_FOLDER = ".prep"

DEADLINE_SECONDS = 120.0
"""How long a condition may take before a test gives up; nothing waits this long unless it is broken."""

_RAW_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Snapshot = dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be JSON and nothing else."""
        return json.loads(self.out)


def prep(*arguments: str | Path) -> Outcome:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def build(*arguments: str | Path) -> Outcome:
    """Build in this process alone, and expect that all goes well."""
    outcome = prep("build-shards", *arguments, "--workers", "1")
    assert outcome.code == 0, outcome.err
    return outcome


def snapshot(folder: Path) -> Snapshot:
    """Return every file below a folder with its digest, and every folder; the build's own state is left out."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] != STATE_FOLDER:
            found[relative.as_posix()] = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_refused(outcome: Outcome, code: int, *says: str) -> None:
    """Hold a refusal against what every refusal must be: the code, a line that says what and where, and no traceback."""
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert not _RAW_CONTROL.search(outcome.err), ascii(outcome.err)
    lines = [line for line in outcome.err.splitlines() if line.startswith(("error: ", "failed: "))]
    assert lines, outcome.err
    for text in says:
        assert text in outcome.err, f"{text!r} is not said in:\n{outcome.err}"


def check_leaves_no_trace(out: Path) -> None:
    """Hold a dataset's folder against a build that is over: nothing laid out, nothing begun, no temporary file."""
    assert list((out / STATE_FOLDER).glob("build*")) == []
    check_no_temporary_file(out)


def check_no_temporary_file(out: Path) -> None:
    assert [path for path in out.rglob("*") if path.name.startswith(".tmp-")] == []


def random_pixels(seed: int, shape: tuple[int, ...], dtype: str = "uint8") -> npt.NDArray[Any]:
    """Return pixels that no other seed gives."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_image(path: Path, seed: int = 0, shape: tuple[int, ...] = (6, 8, 3)) -> Path:
    """Write an image whose pixels come back as they are, but for a JPEG's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_pixels(seed, shape)).save(path)
    return path


def write_array(path: Path, array: npt.ArrayLike) -> Path:
    """Write a `.npy` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(array), allow_pickle=False)
    return path


def write_pets(root: Path, per_class: int = 4) -> Path:
    """Write a folder of cats and dogs."""
    for number in range(per_class):
        write_image(root / "cats" / f"{number:03d}.png", seed=number)
        write_image(root / "dogs" / f"{number:03d}.bmp", seed=1000 + number)
    return root


def set_age(path: Path, seconds: int) -> None:
    """Set the time of a file's last change, so that no test depends on how fast the clock ticks."""
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that must come."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def started(arguments: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process in a session of its own; whatever of the session is left at the end of the block is ended."""
    process = subprocess.Popen(  # the block's end ends it
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        for pid in session_members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def start_prep(*arguments: str | Path, **options: Any) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Start the command as a user does."""
    return started([sys.executable, "-c", "from prep.cli.app import main; main()", *arguments], **options)


def ended(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a process to end, and with it all that it has started."""
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    until(lambda: not session_members(process.pid), "its workers to be gone")
    return Outcome(process.returncode, out, err)


def session_members(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # A process that has gone meanwhile is no member.
            with contextlib.suppress(OSError):
                state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(its_session) == session and state not in {"Z", "X"}:
                    members.append(int(entry.name))
    return members


def workers_of(session: int) -> list[int]:
    """Return the worker processes of a session: copies of its first process, or fresh ones, but no tracker of semaphores."""
    found = []
    for pid in session_members(session):
        if pid != session:
            # A process that has gone meanwhile is no worker.
            with contextlib.suppress(OSError):
                if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found
