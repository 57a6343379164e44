"""Below `.prep` no link is followed; above it, the user's own links are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.files.atomic import replacing
from manifests.files.lock import locked
from manifests.files.regularfile import STATE_FOLDER, open_regular, open_state_file, opened_folder


def read(path: Path) -> None:
    with open_regular(path, opener=open_state_file) as file:
        assert file.read() == b"state"


def write(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"written")


def lock(path: Path) -> None:
    with locked(path.parent):
        pass


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "dataset" / STATE_FOLDER).mkdir(parents=True)
    path = tmp_path / "dataset" / STATE_FOLDER / "lock"
    path.write_bytes(b"state")
    return path


@pytest.mark.parametrize("act", [read, write, lock])
def test_a_link_to_the_dataset_is_the_users_own(act: Callable[[Path], None], state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(state.parents[1])
    act(tmp_path / "link" / STATE_FOLDER / state.name)


@pytest.mark.parametrize("act", [read, write, lock])
def test_a_link_in_the_place_of_the_folder_is_refused(act: Callable[[Path], None], state: Path, tmp_path: Path) -> None:
    other = tmp_path / STATE_FOLDER
    other.symlink_to(state.parent)
    with pytest.raises(OSError, match=STATE_FOLDER):
        act(other / state.name)
    assert os.listdir(state.parent) == [state.name]
    assert state.read_bytes() == b"state"


@pytest.mark.parametrize("act", [read, lock])
def test_a_link_in_the_place_of_a_file_is_refused(act: Callable[[Path], None], state: Path, tmp_path: Path) -> None:
    state.rename(tmp_path / "theirs")
    state.symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="lock"):
        act(state)


def test_a_link_in_the_place_of_a_file_is_replaced(state: Path, tmp_path: Path) -> None:
    state.rename(tmp_path / "theirs")
    state.symlink_to(tmp_path / "theirs")
    write(state)
    assert not state.is_symlink()
    assert (tmp_path / "theirs").read_bytes() == b"state"


def test_a_folder_below_is_made_where_no_link_is(state: Path, tmp_path: Path) -> None:
    with opened_folder(state.parent / "logs", make=True) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), (state.parent / "logs").stat())
    (state.parent / "more").symlink_to(tmp_path)
    for folder in ("more", "more/logs", state.name):
        with pytest.raises(OSError, match=folder.split("/")[0]), opened_folder(state.parent / folder, make=True):
            pytest.fail("it was opened")
    assert not (tmp_path / "logs").exists()
