"""Every raw item that was found is counted exactly once, whatever happened before."""

from __future__ import annotations

import tempfile
from pathlib import Path

from command_line import set_age, write_array
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import load_manifest
from prep import BuildOptions, SilentReporter, SourceError, build_shards

NAMES = ("a", "b", "c", "d", "e")
STATES = st.fixed_dictionaries({name: st.sampled_from(["absent", "good", "other", "bad"]) for name in NAMES})
GOOD = ("good", "other")


def lay_out(raw: Path, states: dict[str, str]) -> None:
    for name, state in states.items():
        path = raw / f"{name}.npy"
        path.unlink(missing_ok=True)
        if state == "bad":
            path.write_bytes(b"")
        elif state != "absent":
            write_array(path, [float(state == "good"), 1.0])
            set_age(path, 10 if state == "good" else 20)


@settings(max_examples=40)
@given(st.lists(st.tuples(STATES, st.booleans()), min_size=1, max_size=4))
def test_the_summary_counts_each_raw_item_once_and_as_what_became_of_it(steps: list[tuple[dict[str, str], bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        raw.mkdir()
        rows: dict[str, str] = {}
        for states, prune in steps:
            lay_out(raw, states)
            good = {name: state for name, state in states.items() if state in GOOD}
            bad = {name for name, state in states.items() if state == "bad"}
            try:
                summary = build_shards(raw, out, BuildOptions(workers=1, prune=prune), report=SilentReporter())
            except SourceError:
                assert not good
                continue
            assert summary.found == summary.kept + summary.added + summary.rebuilt + summary.failed
            assert summary.found == len(good) + len(bad)
            assert summary.failed == len(bad) == len(summary.failures)
            assert summary.added == len(good.keys() - rows.keys())
            assert summary.kept == sum(rows.get(name) == state for name, state in good.items())
            gone = rows.keys() - good.keys() - bad
            assert (summary.removed, summary.gone) == ((len(gone), 0) if prune else (0, len(gone)))
            rows = {**({} if prune else {name: rows[name] for name in gone}), **good}
            assert load_manifest(out).ids == sorted(rows)
