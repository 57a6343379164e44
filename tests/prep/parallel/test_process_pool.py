"""What is said where the system has no room for worker processes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from prep.errors import WorkerError
from prep.parallel.process_pool import ProcessPool

START = "from prep.parallel.process_pool import ProcessPool; ProcessPool(2, None).start(True)"


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("left", [{"f_bavail": 0, "f_favail": 9}, {"f_bavail": 9, "f_favail": 0}], ids=str)
def test_a_full_folder_of_semaphores_is_named(monkeypatch: pytest.MonkeyPatch, left: dict[str, int]) -> None:
    monkeypatch.setattr("loky.ProcessPoolExecutor", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**left))
    with pytest.raises(WorkerError, match=r"^worker processes cannot be started: /dev/shm is full, .*--shm-size.*--workers 1$"):
        ProcessPool(2, None).start(True)


def test_another_disk_that_is_full_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed is written out when processes start."""
    monkeypatch.setattr("loky.ProcessPoolExecutor", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=9, f_favail=9))
    with pytest.raises(OSError, match="No space left on device"):
        ProcessPool(2, None).start(True)
    monkeypatch.setattr(os, "statvfs", failing(errno.ENOENT))
    with pytest.raises(OSError, match="No space left on device"):
        ProcessPool(2, None).start(True)


def test_a_folder_that_is_really_full(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no mount of one's own")
    script = 'mount -t tmpfs -o size=4k none /dev/shm && head -c 4096 /dev/zero > /dev/shm/full && exec "$@"'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(tmp_path)}
    run = [*command, "sh", "-c", script, "sh", sys.executable, "-c", START]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr.splitlines()[-1].startswith("prep.errors.WorkerError: worker processes cannot be started: /dev/shm is full")
