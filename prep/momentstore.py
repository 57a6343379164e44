"""`.prep/moments`: moments of the shards that are there, by the SHA-256 of their bytes, so that no build reads them again.

Safe to delete: what is missing is worked out from the shards. It holds for whatever shard has those bytes, so it can be
written before or after a build's commit. Nothing is unpickled, and a damaged file is as good as none. In columns:

    magic and version | SHA-256 of the rest | number of shards, 8 bytes | their SHA-256, 32 bytes each
    | end of each one's text, 8 bytes each | the texts
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from manifests.atomic import replacing

_NAME = "moments"
_MAGIC = b"shardfeed moments 1\n"
_DIGEST_BYTES = 32


def load_moments(state: Path) -> dict[str, str]:
    """Return what is remembered: SHA-256 of a shard's bytes, in hex -> its moments; empty if nothing is, or it is damaged.

    Args:
        state: the folder `.prep`.
    """
    try:
        content = (state / _NAME).read_bytes()
    except OSError:
        return {}
    start = len(_MAGIC) + _DIGEST_BYTES
    view = memoryview(content)
    if content[: len(_MAGIC)] != _MAGIC or content[len(_MAGIC) : start] != hashlib.sha256(view[start:]).digest():
        return {}
    count = int.from_bytes(view[start : start + 8], "little")
    digests_at, ends_at = start + 8, start + 8 + count * _DIGEST_BYTES
    texts_at = ends_at + count * 8
    keys = content[digests_at:ends_at].hex()
    texts = content[texts_at:].decode("ascii")
    moments: dict[str, str] = {}
    begin = 0
    for number, end in enumerate(np.frombuffer(view[ends_at:texts_at], "<i8").tolist()):
        moments[keys[number * 2 * _DIGEST_BYTES : (number + 1) * 2 * _DIGEST_BYTES]] = texts[begin:end]
        begin = end
    return moments


def keep_moments(moments: Mapping[str, str], state: Path) -> None:
    """Remember moments in place of those that were; equal ones give equal bytes. Where it cannot be written, nothing is.

    Args:
        moments: SHA-256 of a shard's bytes, in hex -> its moments.
        state: the folder `.prep`.
    """
    keys = sorted(moments)
    ends = np.cumsum([len(moments[key]) for key in keys], dtype="<i8").tobytes()
    texts = "".join(moments[key] for key in keys).encode("ascii")
    rest = b"".join([len(keys).to_bytes(8, "little"), bytes.fromhex("".join(keys)), ends, texts])
    try:
        with replacing(state / _NAME, durable=False) as file:
            file.write(_MAGIC + hashlib.sha256(rest).digest())
            file.write(rest)
    except OSError:
        return  # a build is not to fail by what it only remembers
