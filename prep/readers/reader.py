"""What every reader has: which files it takes, how it reads them, its options, and what the values mean that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic

import numpy as np

from manifests.format.npyfile import AnyArray
from manifests.rows.buffers import Positions
from prep.readers.headers import Facts, Headers
from prep.readers.parameters import ReaderOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a recipe wants of an item that is read.

    Attributes:
        options: of the reader, with nothing left on "auto".
        size: (height, width) to bring the main array to; None keeps its own. Only a reader that `resizes` is asked for one.
        at_least: (height, width) below which it need not be decoded, as it is resized later; without `size`.
    """

    options: ReaderOptions
    size: tuple[int, int] | None = None
    at_least: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a reader gives of one raw item.

    Attributes:
        array: the main one: numeric, of any shape.
        arrays: further ones of the same sample, by name, such as `mask`.
        header: what `SurveyedReader.header` would say; empty for other readers.
    """

    array: AnyArray
    arrays: Mapping[str, AnyArray] = field(default_factory=dict)
    header: str = ""


class Reader(ABC):
    """Turns one kind of raw file into arrays. It is made without arguments and keeps nothing.

    Attributes:
        name: what `--format` takes it by, and what recipes are stored with.
        singular: what one item is called in messages, such as `image`.
        files: what its files are called where there are none, such as `.npy or .npz files`.
        suffixes: endings of the files it takes: lower case, each with its only dot in front.
        looked_for: the usual ones of the endings, where `files` does not name them.
        Options: type of its options.
        resizes: whether it can bring images to a size while it reads them.
        full_range: whether uint8 and uint16 stand for the same range of brightness, so that values are stretched from one to the other.
    """

    name: ClassVar[str]
    singular: ClassVar[str]
    files: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    looked_for: ClassVar[str] = ""
    Options: ClassVar[type[ReaderOptions]] = ReaderOptions
    resizes: ClassVar[bool] = False
    full_range: ClassVar[bool] = False

    @abstractmethod
    def read(self, path: str, member: str, wanted: Wanted) -> Reading:
        """Read the arrays of an item, a pure function of the file's bytes and of what is wanted.

        Args:
            path: of the file.
            member: one of the file's `members`; empty if the file is itself the item.
            wanted: of the arrays.

        Raises:
            ItemError: the file cannot be used; the message does not name it.
        """

    def members(self, path: Path) -> Sequence[str] | None:  # noqa: ARG002  # for readers of container files
        """Return the names of the items that a container file holds, in its order; None for a file that is itself one item.

        A name is relative, with `/`, and no two are equal: it stands in the manifest's column `member` and in the ID.

        Raises:
            ItemError: the file cannot be used.
        """
        return None

    def libraries(self) -> Mapping[str, str]:
        """Return the libraries whose release can change a value, with their versions: an item is built again when one changes."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of the shards, as far as it matters to the settling of a reader's options.

    Attributes:
        dtype: NumPy name of the shards' dtype; None leaves it to the raw data.
        size: (height, width) of images, or None.
        keeps_dtype: whether the transforms give the dtype that is read.
        has_transforms: whether there are any.
        full_range: whether values are stretched to the full range before anything tells uint8 from uint16.
    """

    dtype: str | None
    size: tuple[int, int] | None
    keeps_dtype: bool
    has_transforms: bool
    full_range: bool


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Options with nothing left on "auto".

    Attributes:
        options: of the reader.
        dtype: of the shards; None where the transforms decide.
        notes: what was decided, a sentence each.
    """

    options: ReaderOptions
    dtype: str | None
    notes: Sequence[str]


class SurveyedReader(Reader, Generic[Facts]):
    """A reader whose headers, those of all items together, settle options that were left on "auto".

    Headers are read before the plan is made, or along with the items where nothing hangs on them.
    """

    @abstractmethod
    def header(self, path: str, member: str) -> str:
        """Return what an item's header says as one line of text, a pure function of the file's bytes.

        Raises:
            ItemError: as by `read`.
        """

    @abstractmethod
    def parse_header(self, text: str) -> Facts:
        """Return what the text of a header says.

        Raises:
            ValueError: it is no text of `header`.
        """

    @abstractmethod
    def settle(self, headers: Headers[Facts], options: ReaderOptions, asked: Asked, before: ReaderOptions | None) -> Settled:
        """Settle what the options leave open.

        Args:
            headers: of the items.
            options: as they were given.
            asked: of the shards.
            before: with which the dataset that is there was settled, where these stay; None if there is none.

        Raises:
            SourceError: the items do not go together.
        """

    @abstractmethod
    def describe(self, headers: Headers[Facts]) -> list[str]:
        """Say what was found in the headers, a sentence each."""

    def is_settled(self, options: ReaderOptions, asked: Asked) -> bool:  # noqa: ARG002  # for readers that can tell
        """Return whether `settle` gives the same whatever the headers say, so that they need not be read before the items."""
        return False

    def kind(self, facts: Facts) -> str:  # noqa: ARG002  # for readers that can tell
        """Return of which kind an item is, of few, where items of some kinds do not go together."""
        return ""

    def deciding(self, headers: Headers[Facts], options: ReaderOptions) -> Positions:  # noqa: ARG002  # for readers that can tell
        """Return which items (int64) alone decide an option, if one of them can be read in full; in the order in which to try."""
        return np.zeros(0, dtype=np.int64)
