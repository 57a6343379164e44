"""What builds that were ended have left: their stages, and what of them moves into the stage of the next build.

Each build has a stage of a name of its own, which its workers never make anew. On a cluster they may outlive the build, or begin late:
once their stage has another name, there is nowhere for them to write.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.format.names import ARRAY_FOLDER, SHARD_FOLDER, resolve_inside
from manifests.format.schema import FAILURES_NAME, MANIFEST_NAME, METADATA_NAME
from manifests.storage.commitlog import STAGE_FOLDER
from prep.build.execute.journal import PART_FOLDER, count_done, shard_paths, take_over_rows
from prep.errors import OutputError
from prep.parallel.run_flag import FLAG_NAME

if TYPE_CHECKING:
    import pyarrow as pa

_OF_ITS_COMMIT = (MANIFEST_NAME, METADATA_NAME, FAILURES_NAME, FLAG_NAME)


def new_stage(out: Path) -> Path:
    """Return a name for a stage that no other build has."""
    return out / f"{STAGE_FOLDER}-{secrets.token_hex(8)}"


def stages(out: Path) -> list[Path]:
    """Return the stages that there are."""
    stage = out / STAGE_FOLDER
    return sorted(path for path in stage.parent.glob(f"{stage.name}*") if path == stage or path.name.startswith(f"{stage.name}-"))


def withdrawn(out: Path) -> list[Path]:
    """Give each stage a name under which no worker can find it, and return them; a link in the place of one goes.

    Raises:
        OSError: the folder cannot be written.
    """
    found = []
    for path in stages(out):
        if path.is_symlink():  # what lies behind it is somebody else's
            path.unlink()
            continue
        left = out / STAGE_FOLDER
        if path != left:
            left = new_stage(out) if left.exists() else left
            path.rename(left)
        found.append(left)
    return found


def remove_links(stage: Path) -> None:
    """Remove links in the place of a stage's folders: what lies behind them is somebody else's."""
    for name in (SHARD_FOLDER, PART_FOLDER, ARRAY_FOLDER):
        if (stage / name).is_symlink():
            (stage / name).unlink()
    further = stage / ARRAY_FOLDER
    for folder in further.iterdir() if further.is_dir() else ():
        if folder.is_symlink():
            folder.unlink()


def keep_parts(stage: Path) -> int:
    """Leave of a stage what the next build can go on from, if there is anything; return how many items that is."""
    done = count_done(stage)
    if not done:
        shutil.rmtree(stage, ignore_errors=True)
        return 0
    for name in _OF_ITS_COMMIT:
        (stage / name).unlink(missing_ok=True)
    return done


def take_over(left: Path, folder: Path, rows: pa.Table) -> pa.Table:
    """Move what is done from the stage of an ended build into that of this one.

    Each file moves for itself: on a network file system, a worker of the ended build may go on writing into a folder that was renamed.

    Args:
        left: the stage of the ended build.
        folder: that of this one.
        rows: of the first one's journal that hold for this build too.

    Returns:
        What is done, as `prep.build.execute.journal.WRITTEN` has it.

    Raises:
        OSError: a folder cannot be written.
        OutputError: a link leads out of the stage.
    """
    paths = shard_paths(rows)
    for head in sorted(set(map(os.path.dirname, paths))):
        if resolve_inside(left, head) is None:
            raise OutputError(f"{left / head}: leads out of the dataset through a link; remove it")
        os.makedirs(folder / head, exist_ok=True)
    written = take_over_rows(left, folder, rows)
    for path in paths:
        os.replace(f"{left}/{path}", f"{folder}/{path}")
    return written
