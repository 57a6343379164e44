"""Looking into raw files before anything is built: headers, digests of contents; runs in workers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manifests.files.regularfile import open_regular
from prep.errors import ItemError
from prep.parallel.watchdog import watched
from prep.readers.parameters import ReaderOptions
from prep.readers.reader import SurveyedReader, Wanted
from prep.readers.registry import reader_of
from prep.readers.system_errors import check_shortage
from prep.sources.items import Item
from prep.sources.listing import Failure, failure_of


@dataclass(frozen=True, kw_only=True)
class LookChunk:
    """Raw files to look into.

    Attributes:
        root: the source's folder.
        format: name of the reader of the raw files.
        items: what to look into.
        header: whether to read headers.
        content: whether to read all bytes for their digest.
        whole: options with which to read the items in full, to know whether that can be done; None if not.
    """

    root: Path
    format: str
    items: Sequence[Item]
    header: bool
    content: bool
    whole: ReaderOptions | None = None


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a chunk's files are like.

    Attributes:
        ids: of the items whose files could be read as far as was asked.
        headers: what their headers say, as items have it; empty if that was not asked.
        contents: SHA-256 of their bytes; empty if that was not asked.
        failures: of the others.
    """

    ids: Sequence[str]
    headers: Sequence[str]
    contents: Sequence[bytes]
    failures: Sequence[Failure]

    def __len__(self) -> int:
        return len(self.ids)


def look_chunk(chunk: LookChunk) -> Looked:
    """Look into a chunk's files; one that cannot be read is a failure, not an error.

    Raises:
        WorkerError: the system ran out of something that reading takes.
    """
    ids: list[str] = []
    headers: list[str] = []
    contents: list[bytes] = []
    failures: list[Failure] = []
    reader = reader_of(chunk.format)
    for item in watched(chunk.items):
        path = chunk.root / item.source
        try:
            if chunk.whole is not None:
                reader.read(os.fspath(path), item.member, Wanted(options=chunk.whole))
            elif not (chunk.header or chunk.content):
                os.stat(path)
            header = [reader.header(os.fspath(path), item.member)] if chunk.header and isinstance(reader, SurveyedReader) else []
            contents += [content_sha256(path)] if chunk.content else []
        except Exception as error:  # noqa: BLE001  # likewise as in `samples_of`
            check_shortage(error, item.source)
            failures.append(_failure(item, error))
            continue
        headers += header
        ids.append(item.id)
    return Looked(ids=ids, headers=headers, contents=contents, failures=failures)


def content_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _failure(item: Item, error: Exception) -> Failure:
    failure = failure_of(item, "read", error)
    if isinstance(error, ItemError):
        return failure
    why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else f"{type(error).__name__}: {failure.error}"
    return replace(failure, error=why)
