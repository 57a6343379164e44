"""Users' functions and methods work in workers, wherever they are defined, and nothing of the user's program runs there again."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acts import At, LockedError, OwnError, StrangeError, double, noisy
from feeding import check_pass, feed_of

from loader.errors import TransformError
from loader.feed.transforms import Transforms
from loader.workers.pickling import exception_bytes, exception_of, portable
from loader.workers.pool.pool import Pool
from loader.workers.workers import Workers
from manifests import Manifest


def closure(factor: float) -> Callable[..., Any]:
    return lambda x, y, rng: (x * factor, y)


@pytest.mark.parametrize(
    "transform",
    [
        double,
        noisy,
        At(99, "killed"),
        functools.partial(At(1, "killed", but=os.getpid()), y=None),
        lambda x, y, rng: (x + 1, y),
        closure(7),
    ],
    ids=["function", "random", "callable", "partial", "lambda", "closure"],
)
def test_a_function_comes_back_as_bytes_say(transform: Any) -> None:
    if isinstance(transform, functools.partial):
        transform = functools.partial(double)
    back = pickle.loads(portable(Transforms(sample=transform))).sample  # noqa: S301  # made here
    x, rngs = np.arange(6.0), [np.random.default_rng(1) for _ in range(2)]
    assert np.array_equal(back(x, 1, rngs[0])[0], transform(x, 1, rngs[1])[0])


def test_no_functions_are_no_bytes() -> None:
    assert portable(Transforms()) == b""


@pytest.mark.parametrize("held", [threading.Lock(), (i for i in range(3)), open(os.devnull, "rb")], ids=["lock", "generator", "file"])  # noqa: SIM115
def test_what_cannot_be_sent_is_an_error_that_says_what_to_do(held: Any) -> None:
    with pytest.raises(TransformError, match=r"cannot be sent to worker processes \(TypeError: cannot pickle .*use_multiprocessing=False"):
        portable(Transforms(batch=functools.partial(double, held=held)))


@pytest.mark.parametrize("error", [ValueError(1), OwnError(3, "x"), SystemExit(2), UnicodeDecodeError("utf-8", b"x", 0, 1, "no")], ids=repr)
def test_an_exception_comes_back(error: BaseException) -> None:
    data = exception_bytes(error)
    assert data is not None
    back = exception_of(data)
    assert type(back) is type(error)
    assert back.args == error.args


@pytest.mark.parametrize("error", [LockedError("x"), StrangeError("x")], ids=repr)
def test_an_exception_that_does_not_come_back_is_none(error: BaseException) -> None:
    assert exception_bytes(error) is None


def test_functions_of_a_module_that_workers_can_import_work_there(make_dataset: Callable[..., Manifest]) -> None:
    feed = feed_of(make_dataset(), functools.partial(At(1000, "killed")), noisy)
    workers = Workers(feed, 1, 2, pool=Pool())
    check_pass(workers, feed, 0)
    workers.close()


# Whole programs: unguarded, with all that they need defined in themselves.

START = """
import os, sys, functools
import numpy as np
print("main runs", flush=True)
sys.path[:0] = {folders!r}
from feeding import check_same, feed_of
from loader.errors import TransformError
from loader.workers.pool.shared import shared_pool
from loader.workers.workers import Workers
from manifests import load_manifest
manifest = load_manifest({root!r})
here = os.getpid()
heavy = ("keras", "tensorflow", "jax", "torch", "loader.sequence", "pandas", "owners", "user_sequences")
def in_worker():
    assert os.getpid() != here
    return [name for name in heavy if name in sys.modules]
"""

FUNCTIONS = """
FACTOR = 3
class Scale:
    def __init__(self, factor): self.factor = factor
    def __call__(self, x, y, rng): return x * self.factor + helper(rng), y
    def method(self, x, y, rng): return self(x, y, rng)
    @classmethod
    def of_class(cls, x, y, rng): return cls(5)(x, y, rng)
    @staticmethod
    def static(x, y, rng): return x * FACTOR, y
class Twice(Scale):
    def __call__(self, x, y, rng): return super().__call__(2 * x, y, rng)
def helper(rng): return np.float32(rng.random() + FACTOR)
def plain(x, y, rng): return x * helper(rng), y
def keyed(x, y, rng, factor): return x * factor, y
def closure(factor):
    def inner(x, y, rng): return x * factor, y
    return inner
def table(): return np.arange(12, dtype="float32").reshape(4, 3)
class MyError(Exception):
    def __init__(self, code): super().__init__(code); self.code = code
def failing(x, y, rng):
    if in_worker() != []: raise AssertionError(in_worker())
    raise MyError(11)

for transform in [plain, Scale(2), Twice(2), Scale(3).method, Scale.of_class, Scale.static, functools.partial(keyed, factor=4),
                  lambda x, y, rng: (x - FACTOR, y), closure(6), lambda x, y, rng: (x + table(), y)]:
    feed = feed_of(manifest, transform)
    workers = Workers(feed, 1, 2)
    for batch in range(3):
        check_same(workers.take((0, batch), [(0, batch + 1)]).batch, feed.batch(0, batch).batch)
    keep = globals().setdefault("keep", workers)  # so that the process stays
feed = feed_of(manifest, failing)
try:
    Workers(feed, 1, 2).take((0, 0), [])
except MyError as error:
    assert error.code == 11, error
    assert "in failing" in error.__notes__[-1], error.__notes__
    print("as its own class")
print(len(shared_pool().process_ids), "process")
"""


def run_program(code: str, manifest: Manifest, tmp_path: Path, *, is_notebook: bool = False) -> list[str]:
    """Run a program and return what it printed, a line each."""
    start = START.format(folders=[str(Path(__file__).parent), str(tmp_path)], root=str(manifest.root))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if is_notebook:  # a notebook's __main__ has no file, and its cells are executed one after the other
        command, given = [sys.executable, "-c", "import sys; exec(compile(sys.stdin.read(), '<cell>', 'exec'), globals())"], start + code
    else:
        (tmp_path / "program.py").write_text(start + code, encoding="utf-8")
        command, given = [sys.executable, str(tmp_path / "program.py")], ""
    run = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize("is_notebook", [False, True], ids=["script", "notebook"])
def test_functions_of_a_program_work_in_workers_which_never_run_it(
    make_dataset: Callable[..., Manifest], tmp_path: Path, is_notebook: bool
) -> None:
    out = run_program(FUNCTIONS, make_dataset(12), tmp_path, is_notebook=is_notebook)
    assert out == ["main runs", "as its own class", "1 process"]


SEQUENCES = """
import numpy as np
import keras
import sys, os
from loader import ManifestSequence

LIMIT = 100
def outside(x): return x + LIMIT

class Mixin:
    bias = 2
    def shift(self, x): return x + self.bias + self.after

class First(Mixin, ManifestSequence):
    def __init__(self, *args, **options):
        self.before = 5
        super().__init__(*args, **options)
        self.after = np.arange(3, dtype="float32")
        self.function = self.shift

    def transform(self, x, y, rng):
        names = [name for name in ("keras", "tensorflow", "loader.sequence", __name__) if name in sys.modules and name != "__main__"]
        if os.getpid() != self.pid and names:
            raise AssertionError(names)
        x, y = super().transform(x, y, rng)
        x = self.function(x) * self.before + self.batch_size + len(self.class_names) + rng.random()
        return outside(x).astype("float32"), y

    @property
    def twice(self): return 2 * self.before

    @staticmethod
    def static(x): return x * 2

    def given(self, x, y, rng):
        return self.static(x) + self.twice, y

    def on_epoch_end(self):
        super().on_epoch_end()
        keras.backend.clear_session()

class Second(First):
    def batch_transform(self, X, Y, rng):
        X, Y = super().batch_transform(X, Y, rng)
        assert isinstance(self, First) and isinstance(self, ManifestSequence) and type(self).__name__ == "Second"
        return {"x": X, "more": Second.static(X)}, Y

class Stuck(First):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.lock = __import__("threading").Lock()
"""

CHECKS = """
{definition}
First.pid = os.getpid()

def check(make):
    with make(workers=1, use_multiprocessing=True) as there, make() as here:
        assert len(here) == 4
        for (x, y), (other_x, other_y) in zip(there, here, strict=True):
            check_same(x, other_x)
            check_same(y, other_y)
        assert there._delivery.readers.process_ids, "no worker was asked"

options = dict(batch_size=3, shuffle=True, seed=4)
check(lambda **more: First(manifest, **options, **more))
check(lambda **more: Second(manifest, **options, **more))

class Given(First):
    def __init__(self, *args, **more):
        super().__init__(*args, transform=self.given, **more)
check(lambda **more: Given(manifest, **options, **more))

try:
    iter(Stuck(manifest, workers=1, use_multiprocessing=True)).__next__()
except TransformError as error:
    assert "cannot pickle" in str(error) and "use_multiprocessing=False" in str(error)
    print("refused")
"""


@pytest.mark.parametrize("where", ["main", "module"])
def test_methods_of_a_sequence_work_in_workers_without_keras(make_dataset: Callable[..., Manifest], tmp_path: Path, where: str) -> None:
    definition = SEQUENCES
    if where == "module":
        (tmp_path / "user_sequences.py").write_text(SEQUENCES, encoding="utf-8")
        definition = "from user_sequences import First, Second, Stuck"
    out = run_program(CHECKS.format(definition=definition), make_dataset(12), tmp_path)
    assert out == ["main runs", "refused"]
