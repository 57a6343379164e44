"""`.prep/moments`: moments of the shards that are there, by the SHA-256 of their bytes, so that no build reads them again.

Safe to delete: what is missing is worked out from the shards. It holds for whatever shard has those bytes, so it can be
written before or after a build's commit. Nothing is unpickled, and a damaged file is as good as none. It goes

    magic and version | SHA-256 of the rest | blocks

and each block

    number of shards, 8 bytes | bytes of moments, 8 bytes | their SHA-256, 32 bytes each | how long each one's moments are, 8 bytes each
    | the moments
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from manifests.atomic import replacing
from manifests.regularfile import open_regular
from prep.digests import Digests
from prep.errors import OutputError
from prep.known import DIGEST_BYTES
from prep.momentsource import MomentBlock, MomentSource

_NAME = "moments"
_MAGIC = b"shardfeed moments 2\n"
_START = len(_MAGIC) + DIGEST_BYTES
_HEAD = np.dtype([("shards", "<i8"), ("bytes", "<i8")])


class StoredMoments(MomentSource):
    """What is remembered; nothing if that is damaged.

    Attributes:
        digests: SHA-256 of the shards' bytes: uint8, shape (n, 32).
    """

    def __init__(self, state: Path) -> None:
        """Look at the file.

        Args:
            state: the folder `.prep`.
        """
        self._path = state / _NAME
        try:
            with open_regular(self._path) as file:
                found = list(_digests_in(file)) if _is_sound(file) else []
        except OSError:
            found = []
        super().__init__([len(digests) for digests, _ in found])
        self.digests: Digests = np.concatenate([np.zeros((0, DIGEST_BYTES), dtype=np.uint8), *(digests for digests, _ in found)])
        self._places = [place for _, place in found]

    def load(self, number: int) -> MomentBlock:
        """Return a block."""
        try:
            with open_regular(self._path) as file:
                file.seek(self._places[number])
                head = np.frombuffer(file.read(_HEAD.itemsize), dtype=_HEAD)[0]
                count = int(head["shards"])
                digests = np.frombuffer(file.read(count * DIGEST_BYTES), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
                lengths = np.frombuffer(file.read(count * 8), dtype="<i8")
                return MomentBlock(digests=digests, lengths=lengths, moments=file.read(int(head["bytes"])))
        except (OSError, IndexError, ValueError) as error:
            raise OutputError(f"{self._path}: was removed or changed while a build ran; build again") from error


def _is_sound(file: BinaryIO) -> bool:
    if file.read(len(_MAGIC)) != _MAGIC:
        return False
    expected = file.read(DIGEST_BYTES)
    return _digest_of_rest(file) == expected


def _digest_of_rest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    file.seek(_START)
    while piece := file.read(io.DEFAULT_BUFFER_SIZE << 5):
        digest.update(piece)
    return digest.digest()


def _digests_in(file: BinaryIO) -> Iterable[tuple[Digests, int]]:
    """Yield the digests of each block, and where it begins."""
    file.seek(_START)
    while head := file.read(_HEAD.itemsize):
        place = file.tell() - len(head)
        count, size = np.frombuffer(head, dtype=_HEAD)[0].tolist()
        yield np.frombuffer(file.read(count * DIGEST_BYTES), dtype=np.uint8).reshape(count, DIGEST_BYTES), place
        file.seek(count * 8 + size, os.SEEK_CUR)


def keep_moments(blocks: Iterable[MomentBlock], state: Path) -> None:
    """Remember moments in place of those that were; equal blocks give equal bytes. Where it cannot be written, nothing is.

    Args:
        blocks: of distinct shards.
        state: the folder `.prep`.

    Raises:
        OutputError: the blocks cannot be had.
    """
    try:
        with replacing(state / _NAME, durable=False) as file:
            file.write(_MAGIC + bytes(DIGEST_BYTES))
            digest = hashlib.sha256()
            for block in blocks:
                head = np.array((len(block.digests), len(block.moments)), dtype=_HEAD)
                for piece in (head.tobytes(), block.digests.tobytes(), block.lengths.astype("<i8").tobytes(), block.moments):
                    file.write(piece)
                    digest.update(piece)
            file.seek(len(_MAGIC))
            file.write(digest.digest())
    except OSError:
        return  # a build is not to fail by what it only remembers
