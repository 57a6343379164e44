"""Ends builds, looks at what is left, builds again, and compares every byte.

A script: the builds run in forks of this process, which has imported all that they need, so each takes a tenth of a second. They
end at each of their file operations in turn, or at some of them, with one worker, or at random moments, with two. What it found goes to
stdout as JSON.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests import load_manifest
from manifests.verification.verify import verify
from prep.build.stage.stage import KEPT
from prep.cli.app import run

OPERATIONS = {"open", "write", "writelines", "writev", "flush", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "link"}
"""Names of what Python calls to change files; to end just before each of them is to end just after the one before, too."""

EXIT_NOT_REACHED = 77

Files = dict[str, str]


class Shim:
    """Counts the file operations of this process, and does something at one of them."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self._left = at
        self._act = act
        sys.setprofile(self._see)

    def is_reached(self) -> bool:
        sys.setprofile(None)
        return self._left <= 0

    def _see(self, _frame: object, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in OPERATIONS:
            self._left -= 1
            if self._left == 0:
                sys.setprofile(None)
                self._act()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


class Refusal:
    """Refuses one opening of a file or a folder, or every new one below a folder from one on; for a fork, as no hook can be taken away."""

    def __init__(self, at: int, number: int, new_below: Path | None) -> None:
        self._left = at
        self._number = number
        self._new_below = new_below
        sys.addaudithook(self._see)

    def is_reached(self) -> bool:
        return self._left <= 0

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.scandir", "os.listdir", "os.mkdir"} and self._concerns(event, arguments):
            self._left -= 1
            if self._left == 0 or (self._left < 0 and self._new_below is not None):
                raise OSError(self._number, os.strerror(self._number), arguments[0])

    def _concerns(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if self._new_below is None:
            return event != "os.mkdir"  # which opens nothing
        if not isinstance(arguments[0], str | os.PathLike):  # a descriptor that is open
            return False
        path = Path(arguments[0])
        if not path.is_absolute():  # by a folder's descriptor, of which the hook is not told
            return event == "open" and bool(arguments[2] & os.O_EXCL)
        is_new = event == "os.mkdir" or (event == "open" and arguments[2] & os.O_CREAT)
        return bool(is_new) and self._new_below in path.parents and not os.path.lexists(path)


class FewDescriptors:
    """Lets this process have only so many files open beside those that it has open now."""

    MOST = 12

    def __init__(self, at: int) -> None:
        self._at = at
        open_now = len(os.listdir("/proc/self/fd")) - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + at - 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def is_reached(self) -> bool:
        return self._at <= self.MOST


FAULTS: dict[str, Callable[[int, Path], Shim | Refusal | FewDescriptors]] = {
    "killed": lambda at, _: Shim(at, killed),
    "full": lambda at, _: Shim(at, full),
    "files": lambda at, _: Refusal(at, errno.EMFILE, None),
    "inodes": lambda at, out: Refusal(at, errno.ENOSPC, out),
    "quota": lambda at, out: Refusal(at, errno.EDQUOT, out),
    "descriptors": lambda at, _: FewDescriptors(at),
}

SAID = {"files": errno.EMFILE, "inodes": errno.ENOSPC, "quota": errno.EDQUOT, "descriptors": errno.EMFILE}
"""Faults after which the old state or the new one must hold, and the error of which the user must be told."""


def files_of(folder: Path) -> Files:
    paths = (path for path in folder.rglob("*") if path.is_file() and ".prep" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def in_a_fork(function: Callable[[], int]) -> tuple[int, str]:
    """Return a function's exit status, or minus the signal that ended it, and what it wrote to stderr."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.dup2(write, 2)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", buffering=0, closefd=False), write_through=True)
        status = 70
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                status = function()
        except BaseException:  # noqa: BLE001  # told below, by its traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, encoding="utf-8", errors="replace") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def build(source: Path, out: Path, at: int = 0, act: str = "killed") -> int:
    fault = FAULTS[act](at, out) if at else None
    code = run(["build-shards", str(source), str(out), "--workers", "1", "--prune", "--max-failures", "1"])
    return EXIT_NOT_REACHED if fault is not None and not fault.is_reached() else code


def import_what_was_imported(names: str) -> None:
    """Import the modules that a fork names, one a line: the forks to come need not import them each anew."""
    for name in names.split():
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # a module that another made up, or made for its own fork
                importlib.import_module(name)


def trouble_told(act: str, status: int, said: str, state: str, told: str) -> str:
    """Return what is wrong with what a refused build said, given the state that it left, and what the next one told."""
    if (KEPT in said) != ("going on: " in told):
        return f"what was kept is not what is gone on from: {said} {told}"
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if status == 0:  # what was refused is only a memory of builds
        return "" if state == "new" and not errors else f"ended well in state {state!r}: {said}"
    if state not in {"old", "new"} or len(errors) != 1 or os.strerror(SAID[act]) not in errors[0]:
        return f"ended with status {status} in state {state!r}: {said}"
    return "" if (state == "new") == ("the new state is complete" in errors[0]) else f"told another state than {state!r}: {said}"


def trouble_after(act: str, at: int, source: Path, out: Path, old: Files, new: Files) -> tuple[str, str]:
    """End a build at one operation; return which state holds then, and what is wrong with it."""
    status, said = in_a_fork(lambda: build(source, out, at, act))
    if status == EXIT_NOT_REACHED:
        return "", ""
    if act != "killed" and (status not in {0, 1} or "Traceback" in said):
        return "?", f"ended with status {status}: {said}"
    if old or (out / "manifest.csv").exists() or (out / ".prep/build/commit.json").exists():
        problems = verify(load_manifest(out), deep=True)  # which finishes a changeover that has begun
        if problems:
            return "?", f"does not verify: {[str(problem) for problem in problems]}"
    found = files_of(out)
    state = "old" if found == old else "new" if found == new else "?"
    if state == "?" and act == "killed":
        return state, f"is neither the old state nor the new one: {sorted(found)}"
    again, told = in_a_fork(lambda: build(source, out))
    if act in SAID and (trouble := trouble_told(act, status, said, state, told)):
        return state, trouble
    if state == "old" and "going on: " in told:
        state = "old, and parts of the new"
    if state == "?":  # what could not be read is in failures.csv, and the next build takes it in again
        return state, "" if not again and set(files_of(out)) == set(new) else f"building again ends with {again}: {told}"
    if again or files_of(out) != new:
        return state, f"building again ends with {again}: {told}; {sorted(files_of(out))}"
    left = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.name.startswith(".tmp-") or path.name.startswith("build")
    )
    return state, f"leaves {left} behind" if left else ""


def members(session: int) -> list[int]:
    """Return the processes of a session that run."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            fields = Path("/proc", entry, "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry))
    return found


def killed_after(seconds: float, source: Path, out: Path) -> bool:
    """Kill a build with two workers after some seconds, and wait for the end of all its processes; return whether it was over before."""
    child = os.fork()
    if not child:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # the workers' too
        os.dup2(nowhere, 2)
        status = run(["build-shards", str(source), str(out), "--workers", "2", "--prune", "--max-failures", "1"])
        os._exit(status)
    time.sleep(seconds)  # the moment is what is tried
    over = os.waitpid(child, os.WNOHANG)
    if over == (0, 0):
        os.kill(child, signal.SIGKILL)
        over = os.waitpid(child, 0)
    deadline = time.monotonic() + 30
    while members(child):
        if time.monotonic() > deadline:
            sys.exit(f"processes of a killed build live on: {members(child)}")
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(over[1]) == 0


def at_random(source: Path, existing: Path, kills: int) -> None:
    """Kill builds at random moments, each of which goes on from the one before, until the last; then begin anew."""
    scratch, whole = existing.parent / "scratch", existing.parent / "whole"
    shutil.copytree(existing, whole)
    start = time.monotonic()
    if not killed_after(0.0, source, whole):
        start = time.monotonic()
        assert in_a_fork(lambda: run(["build-shards", str(source), str(whole), "--workers", "2", "--prune", "--max-failures", "1"]))[0] == 0
    length, old, new = time.monotonic() - start, files_of(existing), files_of(whole)
    moments = random.Random(0)  # noqa: S311  # nothing secret
    states: list[str] = []
    shutil.copytree(existing, scratch)
    while len(states) < kills:
        was_over = killed_after(moments.uniform(0, length), source, scratch)
        if problems := verify(load_manifest(scratch), deep=True):
            sys.exit(f"kill {len(states)}: does not verify: {[str(problem) for problem in problems]}")
        found = files_of(scratch)
        if found not in (old, new):
            sys.exit(f"kill {len(states)}: is neither the old state nor the new one: {sorted(found)}")
        states.append("new" if found == new else "old")
        if was_over or found == new:
            if found != new:
                sys.exit(f"kill {len(states)}: a build that came to its end left something else: {sorted(found)}")
            shutil.rmtree(scratch)
            shutil.copytree(existing, scratch)
    json.dump(states, sys.stdout)


def main(source: Path, existing: Path, act: str, number: int) -> None:
    """Run the cases.

    Args:
        source: of the builds.
        existing: the dataset that is there before, or a folder that is not.
        act: what ends the builds.
        number: how many kills, if `act` is "random"; else each how-manyth operation to end at, from the first on.
    """
    if act == "random":
        at_random(source, existing, number)
        return
    scratch = existing.parent / "scratch"
    old = files_of(existing) if existing.exists() else {}

    def begin() -> Path:
        shutil.rmtree(scratch, ignore_errors=True)
        if existing.exists():
            shutil.copytree(existing, scratch)
        return scratch

    def build_whole() -> int:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = build(source, scratch)
        sys.stderr.write(said.getvalue() if code else "\n".join(sys.modules))
        return code

    begin()
    code, said = in_a_fork(build_whole)
    assert code == 0, said
    import_what_was_imported(said)
    new = files_of(scratch)
    states: list[str] = []
    for at in itertools.count(1, number):
        state, trouble = trouble_after(act, at, source, begin(), old, new)
        if trouble:
            sys.exit(f"{act} at operation {at}: {trouble}")
        if not state:
            break
        states.append(state)
    json.dump(states, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
