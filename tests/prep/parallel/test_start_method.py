"""Each in an interpreter of its own: a test runner has threads, which decide here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")

ASK_WORKERS = """
import sys
from prep.parallel.executors import open_workers
sys.modules["here_before"] = sys
{before}
with open_workers(2) as workers:
    {setting}
    for question in {questions!r}:
        print(workers.executor.submit(eval, question).result())
"""
IS_COPY = "'here_before' in __import__('sys').modules"
THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
THREAD_OF_C = "import faulthandler; faulthandler.dump_traceback_later(600)"
TENSORFLOW = "sys.modules['tensorflow'] = sys"


def said_by(script: str) -> list[str]:
    """Run a script, and return its lines."""
    ran = subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", script], check=True, capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


def answers(*questions: str, before: str = "", setting: str = "pass") -> list[str]:
    """Return what workers answer to expressions."""
    return said_by(ASK_WORKERS.format(before=before, setting=setting, questions=questions))


def test_workers_are_copies_of_a_process_in_which_nothing_else_runs() -> None:
    assert answers(IS_COPY) == ["True"]


def test_the_thread_that_pyarrow_starts_does_not_count() -> None:
    table = "pyarrow.table({'a': ['x', 'y', 'x']})['a'].dictionary_encode().to_pylist()"
    before = f"import pyarrow.compute, pyarrow.ipc; {table}"
    assert answers(IS_COPY, f"[pyarrow := __import__('pyarrow'), {table}][1]", before=before) == ["True", "['x', 'y', 'x']"]


def test_those_with_which_pyarrow_computes_do() -> None:
    before = "import pyarrow.csv, io; pyarrow.csv.read_csv(io.BytesIO(b'a\\n1\\n'))"
    assert answers(IS_COPY, before=before) == ["False"]


@pytest.mark.slow
@pytest.mark.parametrize("before", [THREAD, THREAD_OF_C, TENSORFLOW], ids=["thread", "thread of C", "TensorFlow"])
def test_workers_are_fresh_where_a_copy_could_wait_for_ever(before: str) -> None:
    assert answers(IS_COPY, before=before) == ["False"]


@pytest.mark.slow
def test_workers_that_run_code_of_the_users_are_fresh() -> None:
    assert answers(IS_COPY, setting="workers.run_users_code = True") == ["False"]


def test_the_release_of_openblas_that_hangs_in_copies_is_known() -> None:
    known = "import numpy, prep.parallel.fork as s; pools = s.threadpool_info()"
    change = "s.threadpool_info = lambda: [{**pool, 'version': '0.3.30.dev'} for pool in pools if pool['internal_api'] == 'openblas']"
    if said_by(f"{known}; print(any(pool['internal_api'] == 'openblas' for pool in pools))") == ["False"]:
        pytest.skip("NumPy is without OpenBLAS here")
    assert said_by(f"{known}; {change}; print(s.can_be_copied())") == ["False"]


def test_a_copy_has_the_signals_of_a_fresh_worker() -> None:
    handler = "import signal; signal.signal(signal.SIGTERM, lambda *_: None)"
    ask = "__import__('signal').getsignal({}).name"
    assert answers(IS_COPY, ask.format(15), ask.format(2), before=handler) == ["True", "SIG_DFL", "SIG_IGN"]


def test_copies_and_their_parent_can_do_linear_algebra() -> None:
    solve = "(lambda a: float(__import__('numpy').linalg.solve(a, a).trace()))(__import__('numpy').eye(300) * 2)"
    assert answers(IS_COPY, solve, before=f"{solve}") == ["True", "300.0"]


def test_a_copy_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    script = f"""
import os, signal, time
from pathlib import Path
from manifests.files.lock import locked
folder = Path({str(tmp_path)!r})
lock = locked(folder)
lock.__enter__()
begun, begins = os.pipe()
copy = os.fork()
if copy == 0:
    os.write(begins, b".")
    time.sleep(600)
    os._exit(0)
os.read(begun, 1)
lock.__exit__(None, None, None)
try:
    with locked(folder):
        print("free")
finally:
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)
"""
    assert said_by(script) == ["free"]


@pytest.mark.slow
def test_a_build_by_a_function_of_the_users_has_fresh_workers(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    for number in range(4):
        np.save(source / f"{number}.npy", np.zeros(1, dtype=np.uint8))
    (tmp_path / "own.py").write_text("import sys\n\ndef mark(array):\n    return array + ('click' in sys.modules)\n")
    (tmp_path / "recipe.toml").write_text('[[transforms]]\nname = "own:mark"\n')
    command = [
        sys.executable,
        "-c",
        "from prep.cli.app import main; main()",
        "build-shards",
        "raw",
        "out",
        "--recipe",
        "recipe.toml",
        "--workers",
        "2",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [int(np.load(tmp_path / "out" / "shards" / f"{number}.npy")[0]) for number in range(4)] == [0] * 4


@pytest.mark.parametrize(
    "before", ["import os; os.fork = no", "import _posixsubprocess as p; p.fork_exec = no; " + THREAD], ids=["copies", "fresh"]
)
def test_a_system_without_room_for_processes_is_told_in_one_line(before: str) -> None:
    refuse = "def no(*args, **kwargs):\n    raise BlockingIOError(11, 'Resource temporarily unavailable')\n\n"
    script = ASK_WORKERS.format(before=refuse + before, setting="pass", questions=("1",))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "WorkerError: worker processes cannot be started: Resource temporarily unavailable; " in ran.stderr.splitlines()[-1]


SHADOWING = ("loky", "multiprocessing", "queue", "signal", "struct", "threading", "prep", "manifests", "numpy")
"""Modules of the current folder; whoever imports one leaves a word."""


def shadow(folder: Path) -> Path:
    """Write modules that helper processes import by these names, and return the file in which they leave word."""
    for name in SHADOWING:
        code = "import os, sys\nwith open(os.environ['SHADOWED'], 'a') as file:\n    file.write(f'{__name__} by {sys.argv}')\n"
        (folder / f"{name}.py").write_text(code)
    return folder / "shadowed"


ASK_POOL = """
with open_workers(2) as workers:
    if {renews}:
        workers.executor.submit(int).result()
        workers.renew()
    print(workers.executor.submit(eval, "[__import__('os').environ.get('PYTHONSAFEPATH'), '' in __import__('sys').path]").result())
"""
ASK_LATER_PROCESS = """
process = prep.parallel.start_method.StartContext().Process(target=exec, args=("import sys; print([None, '' in sys.path])",))
process.start()
process.join()
"""
"""As loky starts them in a thread of its own, in place of those that take too much memory."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "ask", [ASK_POOL.format(renews=False), ASK_POOL.format(renews=True), ASK_LATER_PROCESS], ids=["pool", "renewed", "later"]
)
def test_helper_processes_import_nothing_from_the_current_folder(ask: str, tmp_path: Path) -> None:
    """In a notebook the current folder comes first where modules are looked for, and all that the notebook needs is imported already."""
    shadowed = shadow(tmp_path)
    script = f"""
import sys
import click, tqdm, PIL.Image, pyarrow.compute, manifests.manifest, prep.build.build, prep.parallel.start_method
from prep.parallel.executors import open_workers
sys.path.insert(0, "")
{THREAD}
{ask}
print(__import__('os').environ.get('PYTHONSAFEPATH'), sys.path[0] == "")
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | {"SHADOWED": str(shadowed)}
    ran = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["[None, False]", "None True"]
    assert not shadowed.exists(), shadowed.read_text()


@pytest.mark.slow
def test_the_command_and_its_processes_import_from_the_current_folder_what_the_recipe_names_alone(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.zeros(1, dtype=np.uint8))
    (tmp_path / "own.py").write_text("def mark(array):\n    return array + 1\n")
    (tmp_path / "recipe.toml").write_text('[[transforms]]\nname = "own:mark"\n')
    folder = tmp_path / "bin"
    folder.mkdir()
    for where in (tmp_path, folder):
        shadowed = shadow(where)
    command = folder / "prep"
    command.write_text(Path(sys.executable).with_name("prep").read_text())
    out = tmp_path.with_name(f"{tmp_path.name}-data")
    arguments = [sys.executable, str(command), "build-shards", ".", str(out), "--recipe", "recipe.toml", "--workers", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | {"SHADOWED": str(shadowed)}
    ran = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [int(np.load(out / "shards" / f"{number}.npy")[0]) for number in range(4)] == [1] * 4
    assert not shadowed.exists(), shadowed.read_text()
