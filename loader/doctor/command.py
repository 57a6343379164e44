"""`python -m loader.doctor DATA`: find the bottleneck of a feed on this machine, and how many workers pay off.

Exit codes: 0 done, 1 the data has a problem, 2 wrong usage, 130 after Ctrl-C. The result goes to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from loader.doctor.measure import STAGES, Bench
from loader.doctor.recommend import Measured, recommend
from loader.errors import LabelError, LoaderError, OptionError
from loader.feed.index.from_manifest import index_of_manifest
from loader.feed.index.index import Index
from loader.feed.options import FeedOptions
from loader.feed.targets.labels import LABEL_MODES
from loader.feed.transforms import Transform
from manifests.errors import ManifestError, UnknownNameError
from manifests.storage.store import load_manifest
from manifests.text import terminal_text

DONE, DATA_PROBLEM, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_EXAMPLE = """example:
  python -m loader.doctor data/ --split train --batch-size 64 --step-ms 12
  python -m loader.doctor data/ --cold --transform mymodule:augment
"""


class _UsageError(Exception):
    """Something that was typed cannot be used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see {self.prog} --help)")


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Measure, print what was found, and return the exit code; what goes wrong is one line on stderr."""
    try:
        given = _parser().parse_args(arguments)
        result = _examine(given)
    except (_UsageError, OptionError, UnknownNameError) as error:
        return _failed(str(error), WRONG_USAGE)
    except (LoaderError, ManifestError, OSError, _UsersError) as error:
        return _failed(str(error), DATA_PROBLEM)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if given.as_json else terminal_text(_page(result), keep="\n"))
    return DONE


class _UsersError(Exception):
    """The user's function raised."""


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m loader.doctor",
        description="Measure what opening, reading, transforming, copying and handing over a batch cost on this machine, say which of them "
        "limits, and recommend workers and max_queue_size.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("data", metavar="DATA", help="a dataset's folder, or its manifest")
    add("--split", help="the split to measure; all samples otherwise")
    add("--batch-size", type=_positive, default=32, metavar="N", help="samples in a batch (32)")
    add("--samples", type=_positive, default=8192, metavar="N", help="samples to measure at most, drawn at random (8192)")
    add("--seconds", type=_seconds, default=0.5, metavar="S", help="that one walk through the measured batches may take, about (0.5)")
    add("--label-mode", choices=[*filter(None, LABEL_MODES), "none"], help="as for ManifestSequence; what fits the labels otherwise")
    add("--transform", type=_transform, metavar="MODULE:FUNCTION", help="the transform=, in a module that can be imported from here")
    add("--cold", action="store_true", help="have the system forget the shards before each measurement, as data larger than memory is read")
    add("--step-ms", type=_seconds, metavar="MS", help="what one training step takes, to say whether the feed keeps up")
    add("--workers", type=_counts, metavar="LIST", help="numbers of worker processes to try (0, 1, 2, ... up to the processors)")
    add("--json", action="store_true", dest="as_json", help="print the result as JSON")
    return parser


def _examine(given: argparse.Namespace) -> dict[str, Any]:
    if given.cold and not hasattr(os, "posix_fadvise"):
        raise _UsageError("--cold needs posix_fadvise, which this system lacks")
    manifest = load_manifest(given.data)
    if given.split is not None:
        manifest = manifest.split(given.split)
    index = _index(manifest, given.label_mode)
    options = FeedOptions(batch_size=min(given.batch_size, len(index)), shuffle=True)
    with _users_errors(given.transform):
        _say("reading")
        bench = Bench(index, options, given.transform, samples=given.samples, seconds=given.seconds, is_cold=given.cold)
        try:
            _say(f"measuring stages over {_counted(len(bench.keys), 'batch')}")
            stages = bench.stages()
            rates = {}
            for workers in given.workers or _numbers(_processors()):
                _say(f"measuring {_counted(workers, 'worker process')}")
                rates[workers] = bench.rates(workers)
        finally:
            bench.close()
    step = None if given.step_ms is None else given.step_ms / 1000
    measured = Measured(stages=stages.usual(), inline=stages.inline(), rates=rates, step_seconds=step)
    return _result(given, index, bench, measured)


def _notes(given: argparse.Namespace, index: Index, bench: Bench) -> list[str]:
    cached = bench.cached_share() if given.cold else None
    notes = []
    if cached:
        notes.append(f"the system keeps {cached:.0%} of the shards in memory whatever it is told: this is no cold reading")
    data_bytes = bench.batch_bytes / min(given.batch_size, len(index)) * len(index)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not given.cold and data_bytes > memory:
        notes.append(f"{data_bytes / 1e9:,.1f} GB of samples do not fit into {memory / 1e9:,.1f} GB of memory: measure with --cold")
    return notes


def _result(given: argparse.Namespace, index: Index, bench: Bench, measured: Measured) -> dict[str, Any]:
    return {
        "data": given.data,
        "split": given.split,
        "samples": len(index),
        "batch_size": min(given.batch_size, len(index)),
        "batch_bytes": bench.batch_bytes,
        "cold": given.cold,
        "measured_batches": len(bench.keys),
        "measured_samples": bench.samples,
        "stage_seconds": dict(measured.stages),
        "batches_per_second": {str(workers): list(values) for workers, values in measured.rates.items()},
        "step_seconds": measured.step_seconds,
        "recommendation": asdict(recommend(measured)),
        "notes": _notes(given, index, bench),
    }


def _page(result: dict[str, Any]) -> str:
    stages, total = result["stage_seconds"], sum(result["stage_seconds"].values())
    recommendation = result["recommendation"]
    what = (
        f"{result['data']}{' split ' + result['split'] if result['split'] else ''}: {result['samples']:,} samples, batches of "
        f"{result['batch_size']} ({_size(result['batch_bytes'])}); {_counted(result['measured_batches'], 'batch')} measured, "
        f"{'from the disk' if result['cold'] else 'from memory where the system has them'}"
    )
    lines = [
        what,
        "",
        f"{'stage':<12}{'ms a batch':>12}{'share':>8}",
        *(f"{name:<12}{stages[name] * 1000:>12.3f}{stages[name] / total if total else 0:>8.0%}" for name in STAGES),
        "",
        f"{'workers':<12}{'batches/s':>12}{'samples/s':>12}",
    ]
    samples = result["measured_samples"] / result["measured_batches"]
    for workers, values in result["batches_per_second"].items():
        rate = sorted(values)[len(values) // 2]
        lines.append(f"{workers:<12}{rate:>12,.1f}{rate * samples:>12,.0f}")
    workers = recommendation["workers"]
    arguments = (
        f"workers={workers}, use_multiprocessing=True, max_queue_size={recommendation['max_queue_size']}" if workers else "workers=0"
    )
    lines += ["", *(f"note: {note}" for note in result["notes"]), f"recommended: {arguments} ({recommendation['reason']})", ""]
    return "\n".join(lines)


def _index(manifest: Any, label_mode: str | None) -> Index:
    if label_mode is not None:
        return index_of_manifest(manifest, label_mode=next((mode for mode in LABEL_MODES if mode == label_mode), None))
    for mode in ("auto", "multi_hot"):
        with contextlib.suppress(LabelError):
            return index_of_manifest(manifest, label_mode=mode)
    return index_of_manifest(manifest, label_mode=None)


@contextlib.contextmanager
def _users_errors(transform: Transform | None) -> Iterator[None]:
    """Say what a user's function raised in one line, with the sample for which it did."""
    try:
        yield
    except (LoaderError, OSError):
        raise
    except Exception as error:
        if transform is None:
            raise
        notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
        raise _UsersError("; ".join([f"--transform raised {type(error).__name__}: {error}", *notes])) from error


def _transform(text: str) -> Transform:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise argparse.ArgumentTypeError(f"expected MODULE:FUNCTION such as mymodule:augment, got {text!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where workers look for it too
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise argparse.ArgumentTypeError(f"{text!r} is no function but {function!r:.60}")
    return function  # type: ignore[no-any-return]


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")


def _counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers such as 0,1,2,4, got {text!r}")
    return sorted({int(part) for part in parts})


def _numbers(processors: int) -> list[int]:
    """Return the numbers of workers to try: each one up to four, and then in doubling steps."""
    return sorted({*range(min(processors, 4) + 1), *(2**power for power in range(2, processors.bit_length())), processors})


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 'es'}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count > 100_000 else f"{count / 1e3:,.1f} kB"


def _say(text: str) -> None:
    sys.stderr.write(f"{terminal_text(text)}\n")


def _failed(message: str, code: int) -> int:
    sys.stderr.write(terminal_text(f"error: {message}\n", keep="\n"))
    return code
