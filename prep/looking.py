"""Looking into raw files before anything is built: headers of images, digests of contents; runs in workers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manifests.regularfile import open_regular
from prep.errors import ItemError
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


@dataclass(frozen=True)
class Look:
    """What one raw file is like.

    Attributes:
        facts: what its header says, if it was read.
        sha256: of its bytes, if they were read.
    """

    facts: ImageFacts | None
    sha256: bytes | None


def look_chunk(chunk: LookChunk) -> list[tuple[Record, Look | Failure]]:
    """Look into a chunk's files; one that cannot be read is a failure, not an error.

    Raises:
        WorkerError: the system ran out of something that reading takes.
    """
    return [(record, _look(chunk, record)) for record in watched(chunk.records)]


def content_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _look(chunk: LookChunk, record: Record) -> Look | Failure:
    path = chunk.root / record.source
    try:
        if not (chunk.header or chunk.content):
            os.stat(path)
        facts = survey_image(path) if chunk.header else None
        return Look(facts, content_sha256(path) if chunk.content else None)
    except ItemError as error:
        check_shortage(error, record.source)
        return failure_of(record, "read", error)
    except OSError as error:
        check_shortage(error, record.source)
        return replace(failure_of(record, "read", error), error=f"cannot be read: {error.strerror}")
