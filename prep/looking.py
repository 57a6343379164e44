"""Looking into raw files before anything is built: headers of images, digests of contents; runs in workers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.regularfile import open_regular
from prep.errors import ItemError
from prep.known import DIGEST_BYTES, FACTS, facts_row
from prep.records import Failure, Record, failure_of
from prep.shortage import check_shortage
from prep.sources.facts import ImageFacts
from prep.sources.images import survey_image
from prep.watchdog import watched


@dataclass(frozen=True, kw_only=True)
class LookChunk:
    """Raw files to look into.

    Attributes:
        root: the source's folder.
        records: what to look into.
        header: whether to read headers of images.
        content: whether to read all bytes for their digest.
    """

    root: Path
    records: Sequence[Record]
    header: bool
    content: bool


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a chunk's files are like.

    Attributes:
        ids: of the records whose files could be read as far as was asked.
        facts: what their headers say, of dtype `FACTS`: shape (len(ids),), or (0,) if that was not asked.
        sha256s: of their bytes: uint8, shape (len(ids), 32), or (0, 32) if that was not asked.
        failures: of the others.
    """

    ids: Sequence[str]
    facts: npt.NDArray[np.void]
    sha256s: npt.NDArray[np.uint8]
    failures: Sequence[Failure]

    def __len__(self) -> int:
        return len(self.ids)


def look_chunk(chunk: LookChunk) -> Looked:
    """Look into a chunk's files; one that cannot be read is a failure, not an error.

    Raises:
        WorkerError: the system ran out of something that reading takes.
    """
    ids: list[str] = []
    facts: list[ImageFacts] = []
    digests: list[bytes] = []
    failures: list[Failure] = []
    for record in watched(chunk.records):
        path = chunk.root / record.source
        try:
            if not (chunk.header or chunk.content):
                os.stat(path)
            found = survey_image(path) if chunk.header else None
            digests += [content_sha256(path)] if chunk.content else []
        except (ItemError, OSError) as error:
            check_shortage(error, record.source)
            failures.append(_failure(record, error))
            continue
        facts += [] if found is None else [found]
        ids.append(record.id)
    sha256s = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    return Looked(ids=ids, facts=np.array(list(map(facts_row, facts)), dtype=FACTS), sha256s=sha256s, failures=failures)


def content_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _failure(record: Record, error: ItemError | OSError) -> Failure:
    failure = failure_of(record, "read", error)
    return replace(failure, error=f"cannot be read: {error.strerror}") if isinstance(error, OSError) else failure
