"""A big manifest is parsed once: what was kept of it is used only while it is what the file says, and never gets in the way."""

from __future__ import annotations

import copy
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import InvalidManifestError, LabelSpec, Manifest, ManifestError, Metadata, load_manifest, verify, write_manifest
from manifests.format.metadata import write_metadata
from manifests.format.names import collisions, name_problem
from manifests.format.strict_csv import write_csv
from manifests.rows.table import rows_of
from manifests.storage import cache, store
from manifests.storage.cache import Stamp, cached_rows, keep_table
from manifests.storage.store import keep_rows
from manifests.verification.verify import file_sha256

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

Load = Callable[[], Manifest]


@pytest.fixture(autouse=True)
def _small_manifests_are_kept_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "CACHED_ROWS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the file system's clock for one that tells any two changes apart."""
    monkeypatch.setattr(cache, "_GRANULARITY", -(10**12))


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Manifest]:
    """Return a function that loads a manifest and fails if that takes parsing it."""

    def load(path: Path) -> Manifest:
        with monkeypatch.context() as patch:
            patch.setattr(store, "_read", parse)
            return load_manifest(path)

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("the manifest was parsed")

    return load


def is_parsed(path: Path, unparsed: Callable[[Path], Manifest]) -> bool:
    try:
        unparsed(path)
    except AssertionError:
        return True
    return False


def beside(data: Path) -> Path:
    """Return the one cache that lies in a dataset."""
    [file] = (data / ".prep").iterdir()
    return file


def check_same(manifest: Manifest, other: Manifest) -> None:
    pd.testing.assert_frame_equal(manifest.frame, other.frame)
    assert (len(manifest), manifest.ids, manifest.splits, manifest.split_counts()) == (
        len(other),
        other.ids,
        other.splits,
        other.split_counts(),
    )
    assert (manifest.classes, manifest.array, repr(manifest), manifest._repr_html_()) == (
        other.classes,
        other.array,
        repr(other),
        other._repr_html_(),
    )
    assert list(manifest.paths) == list(other.paths)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["007", "NA", "", "a\r\nb", '"', "a,b", "a;b"])
IDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4) | st.just("NA"), max_size=6, unique=True)


@in_one_folder
@given(IDS.filter(lambda names: not any(map(name_problem, names)) and not any(collisions(names))), st.data())
def test_what_was_kept_is_what_the_file_says(
    tmp_path: Path, unparsed: Callable[[Path], Manifest], ids: list[str], data: st.DataObject
) -> None:
    columns = {name: data.draw(st.lists(TEXT, min_size=len(ids), max_size=len(ids))) for name in ("label", "split", "my column")}
    write_manifest(pd.DataFrame({"id": ids, **columns}, dtype=object), tmp_path / "manifest.csv")
    first = load_manifest(tmp_path)
    if ids:
        check_same(unparsed(tmp_path), first)
        for split in first.splits:
            check_same(unparsed(tmp_path).split(split), first.split(split))
        assert unparsed(tmp_path).where(lambda frame: frame["id"] != "").ids == first.ids


def test_a_second_load_does_not_parse(pets: Path, unparsed: Callable[[Path], Manifest]) -> None:
    first = load_manifest(pets)
    second = unparsed(pets)
    assert [second.load(id_).tolist() for id_ in second.ids] == [first.load(id_).tolist() for id_ in first.ids]
    check_same(second, first)
    check_same(unparsed(pets / "manifest.csv"), first)


@pytest.mark.usefixtures("settled")
def test_a_second_load_does_not_read_the_file_at_all(
    pets: Path, unparsed: Callable[[Path], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_manifest(pets)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert len(unparsed(pets)) == 6


def test_small_manifests_are_not_kept(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows, is_kept in ((7, False), (6, True)):
        monkeypatch.setattr(cache, "CACHED_ROWS", rows)
        load_manifest(pets)
        assert (pets / ".prep").exists() == is_kept


def test_manifests_in_one_folder_are_kept_apart(data: Path, unparsed: Callable[[Path], Manifest]) -> None:
    for name in ("a", "b"):
        (data / f"{name}.csv").write_text(f"id\n{name}\n")
        load_manifest(data / f"{name}.csv")
    assert [unparsed(data / f"{name}.csv").ids for name in ("a", "b")] == [["a"], ["b"]]


def test_an_invalid_manifest_is_not_kept(data: Path) -> None:
    (data / "manifest.csv").write_text("id\n..\n")
    for _ in range(2):
        with pytest.raises(InvalidManifestError):
            load_manifest(data)
    assert os.listdir(data) == ["manifest.csv"]


def rewritten(path: Path) -> None:
    write_csv(pd.DataFrame({"id": ["x"]}), path)


def appended(path: Path) -> None:
    with open(path, "a") as file:
        file.write("x,dog,train,2x3,uint8,\n")


def overwritten_with_as_many_bytes(path: Path) -> None:
    with open(path, "r+") as file:
        content = file.read().replace("1e5", "1e6")
        file.seek(0)
        file.write(content)


def overwritten_under_the_old_time(path: Path) -> None:
    status = path.stat()
    overwritten_with_as_many_bytes(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def touched(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("is_recent", [True, False])
@pytest.mark.parametrize(
    "change", [rewritten, appended, overwritten_with_as_many_bytes, overwritten_under_the_old_time, touched], ids=lambda f: f.__name__
)
def test_a_changed_file_is_parsed_again(
    pets: Path,
    unparsed: Callable[[Path], Manifest],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    is_recent: bool,
) -> None:
    if not is_recent:
        monkeypatch.setattr(cache, "_GRANULARITY", -(10**12))
    load_manifest(pets)
    before = (pets / "manifest.csv").stat().st_ctime_ns
    while (pets / "manifest.csv").stat().st_ctime_ns == before:  # until the clock of the file system has moved on
        change(pets / "manifest.csv")
    assert is_parsed(pets, unparsed)
    changed = load_manifest(pets)
    (pets / ".prep").rename(pets / "set-aside")
    check_same(changed, load_manifest(pets))


@pytest.mark.parametrize("is_recent", [True, False])
def test_a_change_that_the_times_do_not_tell_shows_in_the_digest(pets: Path, monkeypatch: pytest.MonkeyPatch, is_recent: bool) -> None:
    if not is_recent:
        monkeypatch.setattr(cache, "_GRANULARITY", -(10**12))
    path = pets / "manifest.csv"
    old = load_manifest(pets)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    overwritten_with_as_many_bytes(path)
    status = path.stat()
    keep_table(old.table, path, Stamp(status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, sha256))
    assert load_manifest(pets).ids == ["007", "1e6", *old.ids[2:]]


def test_a_digest_is_compared_no_more_once_the_times_tell(
    pets: Path, unparsed: Callable[[Path], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_manifest(pets)
    monkeypatch.setattr(cache, "_GRANULARITY", -(10**12))
    assert len(unparsed(pets)) == 6
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert len(unparsed(pets)) == 6


@pytest.mark.usefixtures("settled")
def test_a_copied_dataset_is_parsed_again(pets: Path, unparsed: Callable[[Path], Manifest], tmp_path: Path) -> None:
    """A cache that came with a dataset was not validated here: it could hold paths that lead anywhere."""
    load_manifest(pets)
    os.mkdir(tmp_path / "copy")
    for path in ("manifest.csv", f".prep/{beside(pets).name}"):
        (tmp_path / "copy" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "copy" / path).write_bytes((pets / path).read_bytes())
    status = (pets / "manifest.csv").stat()
    os.utime(tmp_path / "copy/manifest.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_parsed(tmp_path / "copy", unparsed)


def test_labels_are_held_against_a_newer_dataset_json(pets: Path) -> None:
    load_manifest(pets)
    write_metadata(Metadata(labels={"label": LabelSpec(classes=("dog", "cat", "bird"))}), pets / "dataset.json")
    assert load_manifest(pets).classes == ("dog", "cat", "bird")
    write_metadata(Metadata(labels={"label": LabelSpec(classes=("cat", "dog"))}), pets / "dataset.json")
    with pytest.raises(InvalidManifestError, match="row 7, column 'label': label 'bird' is not among the 2 classes"):
        load_manifest(pets)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def made_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def made_a_pickle(path: Path) -> None:
    path.write_bytes(b"cos\nabort\n(tR.")


def made_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def made_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [emptied, cut, made_noise, made_a_pickle, made_a_link, made_a_pipe], ids=lambda f: f.__name__)
def test_a_cache_that_cannot_be_used_is_written_anew(
    pets: Path, unparsed: Callable[[Path], Manifest], damage: Callable[[Path], None]
) -> None:
    load_manifest(pets)
    damage(beside(pets))
    assert is_parsed(pets, unparsed)
    assert len(load_manifest(pets)) == 6
    assert len(unparsed(pets)) == 6


def test_a_stamp_that_is_none_is_refused(pets: Path, unparsed: Callable[[Path], Manifest]) -> None:
    manifest = load_manifest(pets)
    cache.write_cache(manifest.table, {"size": 1}, beside(pets))
    assert is_parsed(pets, unparsed)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets writing below a folder fail."""
    write = cache.write_cache

    def refuse(folder: Path, number: int) -> None:
        def fail_there(table: Any, stamp: Any, path: Path) -> None:
            if folder in path.parents:
                raise OSError(number, os.strerror(number), str(path))
            write(table, stamp, path)

        monkeypatch.setattr(cache, "write_cache", fail_there)

    return refuse


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_beside_a_dataset_that_is_read_only_the_users_own_folder_is_taken(
    pets: Path, tmp_path: Path, unparsed: Callable[[Path], Manifest], refusing: Callable[..., None], number: int
) -> None:
    refusing(pets, number)
    first = load_manifest(pets)
    [file] = (tmp_path / "user-cache" / "shardfeed").iterdir()
    assert file.parent.stat().st_mode & 0o777 == 0o700
    check_same(unparsed(pets), first)
    os.symlink(pets, tmp_path / "link")
    check_same(unparsed(pets), first)
    assert len(unparsed(tmp_path / "link")) == 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_where_nothing_can_be_written_nothing_is_kept(
    pets: Path, tmp_path: Path, unparsed: Callable[[Path], Manifest], refusing: Callable[..., None], number: int
) -> None:
    refusing(tmp_path, number)
    assert len(load_manifest(pets)) == 6
    assert is_parsed(pets, unparsed)


def test_a_state_folder_that_leads_elsewhere_is_not_written_to(pets: Path, tmp_path: Path, unparsed: Callable[[Path], Manifest]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (pets / ".prep").symlink_to(tmp_path / "elsewhere")
    load_manifest(pets)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert len(unparsed(pets)) == 6


def test_a_state_folder_that_is_a_file_is_left_alone(pets: Path) -> None:
    (pets / ".prep").write_text("mine")
    assert len(load_manifest(pets)) == 6
    assert (pets / ".prep").read_text() == "mine"


def test_of_400_flipped_bits_none_gives_other_rows(pets: Path) -> None:
    """Nor does any end in an error: the manifest is parsed instead, be it when a column is first used."""
    (pets / "manifest.csv").unlink()
    write_manifest(rows_of({"id": [f"a/{n}" for n in range(50)], "label": ["cat", "dog"] * 25, "split": ["train", "val"] * 25}), pets)
    expected = load_manifest(pets)
    file = beside(pets)
    content = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        found = load_manifest(pets)
        assert (found.ids, found.classes, found.split("val").ids) == (expected.ids, expected.classes, expected.split("val").ids)
        assert found.table.equals(expected.table)


@pytest.fixture
def damaged(pets: Path) -> Path:
    """A dataset in whose cache an ID is another."""
    load_manifest(pets)
    content = beside(pets).read_bytes()
    assert content.count(b"1e5") == 1
    beside(pets).write_bytes(content.replace(b"1e5", b"1e6"))
    return pets


def test_damage_to_a_column_shows_when_it_is_used(damaged: Path, unparsed: Callable[[Path], Manifest]) -> None:
    manifest = unparsed(damaged)
    assert manifest.split_counts() == unparsed(damaged).split_counts()
    assert "1e5" in manifest.ids
    assert "1e5" in unparsed(damaged).ids  # the cache was written anew


def test_a_manifest_that_has_changed_does_not_stand_in_for_a_damaged_cache(damaged: Path) -> None:
    manifest = load_manifest(damaged)
    appended(damaged / "manifest.csv")
    with pytest.raises(ManifestError, match="has changed since it was opened, and the cache of what it was is damaged; load it again"):
        manifest.column("id")


def test_a_manifest_from_a_cache_can_be_copied_and_pickled(pets: Path, unparsed: Callable[[Path], Manifest]) -> None:
    first = load_manifest(pets)
    check_same(copy.deepcopy(unparsed(pets)), first)  # by pickle's rules


def foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file another user's."""
    if os.geteuid() == 0:
        os.chown(path, 54_321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54_321)


@pytest.mark.parametrize("is_beside", [True, False])
def test_the_cache_of_another_user_is_not_believed(
    pets: Path,
    tmp_path: Path,
    unparsed: Callable[[Path], Manifest],
    refusing: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    is_beside: bool,
) -> None:
    """Be it the owner of the manifest: what they write there is validated, what their cache says would not be."""
    if not is_beside:
        refusing(pets, errno.EACCES)
    load_manifest(pets)
    file = beside(pets) if is_beside else next((tmp_path / "user-cache/shardfeed").iterdir())
    foreign(file, monkeypatch)
    assert is_parsed(pets, unparsed)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_cache_that_others_may_write_to_is_not_believed(pets: Path, unparsed: Callable[[Path], Manifest], mode: int) -> None:
    load_manifest(pets)
    beside(pets).chmod(mode)
    assert is_parsed(pets, unparsed)


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_in_a_folder_that_others_may_write_to_no_cache_is_kept_or_believed(
    pets: Path, tmp_path: Path, unparsed: Callable[[Path], Manifest], mode: int
) -> None:
    load_manifest(pets)
    (pets / ".prep").chmod(mode)
    assert is_parsed(pets, unparsed)
    beside(pets).unlink()
    load_manifest(pets)
    assert os.listdir(pets / ".prep") == []
    assert len(unparsed(pets)) == 6
    assert len(os.listdir(tmp_path / "user-cache/shardfeed")) == 1


def test_who_reads_a_dataset_of_somebody_elses_keeps_a_cache_of_their_own(
    pets: Path, tmp_path: Path, unparsed: Callable[[Path], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(pets / "manifest.csv", monkeypatch)
    load_manifest(pets)
    assert not (pets / ".prep").exists()
    if os.geteuid() == 0:
        assert len(unparsed(pets)) == 6
        assert len(os.listdir(tmp_path / "user-cache/shardfeed")) == 1


@pytest.mark.parametrize(("home", "is_kept"), [("home", True), (None, False)])
def test_the_users_folder_is_found_without_the_variable(
    pets: Path, tmp_path: Path, refusing: Callable[..., None], monkeypatch: pytest.MonkeyPatch, home: str | None, is_kept: bool
) -> None:
    refusing(pets, errno.EACCES)
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "relative" if home is None else str(tmp_path / home))
    assert len(load_manifest(pets)) == 6
    assert (tmp_path / "home/.cache/shardfeed").is_dir() == is_kept


def test_a_manifest_that_goes_away_meanwhile(pets: Path) -> None:
    table = load_manifest(pets).table
    stamp = Stamp(0, 0, 0, 0, None)
    (pets / "manifest.csv").unlink()
    keep_table(table, pets / "manifest.csv", stamp)
    assert cached_rows(pets / "manifest.csv", lambda: table) is None


def test_a_cache_is_no_foreign_file_and_goes_with_its_manifest(pets: Path, unparsed: Callable[[Path], Manifest]) -> None:
    manifest = load_manifest(pets)
    assert (pets / ".prep").is_dir()
    assert verify(manifest) == []
    write_manifest(manifest.frame.iloc[:3], pets)
    assert is_parsed(pets, unparsed)
    assert len(load_manifest(pets)) == 3
    assert len(os.listdir(pets / ".prep")) == 1


def written(path: Path, rows: int) -> pa.Table:
    ids = [f"a/{number:05d}" for number in range(rows)]
    table = rows_of({"id": ids, "split": ["train"] * rows, "label": ids})
    write_manifest(table, path)
    return table


def test_rows_that_were_just_written_need_not_be_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.csv"
    keep_rows(written(path, 1_000), path, file_sha256(path))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_read", None)
        kept = load_manifest(tmp_path).frame
    for cache_file in (tmp_path / ".prep").glob("*.cache"):
        cache_file.unlink()
    pd.testing.assert_frame_equal(kept, load_manifest(tmp_path).frame)


def test_a_few_rows_are_not_worth_keeping(tmp_path: Path) -> None:
    keep_rows(written(tmp_path / "manifest.csv", 999), tmp_path / "manifest.csv", file_sha256(tmp_path / "manifest.csv"))
    assert not (tmp_path / ".prep").exists()


def test_rows_that_were_kept_do_not_stand_for_a_manifest_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    keep_rows(written(path, 1_000), path, file_sha256(path))
    status = path.stat()
    path.write_text(path.read_text().replace("train", "other"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_manifest(tmp_path).splits == ("other",)


def test_rows_of_a_manifest_that_cannot_be_read_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    table = written(path, 1_000)
    sha256 = file_sha256(path)
    path.unlink()
    keep_rows(table, path, sha256)
    assert not (tmp_path / ".prep").exists()


def test_rows_of_a_manifest_that_somebody_has_changed_meanwhile_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    table = written(path, 1_000)
    sha256 = file_sha256(path)
    path.write_text(path.read_text().replace("train", "other"))
    keep_rows(table, path, sha256)
    assert load_manifest(tmp_path).splits == ("other",)
