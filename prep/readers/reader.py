"""What every reader has: which files it takes, how it reads one, and what the values mean that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from manifests.format.npyfile import AnyArray
from prep.readers.header import ImageFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a recipe wants of an array that is read; a reader heeds what goes with its files.

    Attributes:
        size: (height, width) to bring it to; None keeps its own.
        gray: whether to give one channel, else RGB.
        at_least: (height, width) below which it need not be decoded, as it is resized later; without `size`.
        npz_key: name of the array within an `.npz` file; None takes the only one.
    """

    size: tuple[int, int] | None = None
    gray: bool = False
    at_least: tuple[int, int] | None = None
    npz_key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a reader gives of one raw item.

    Attributes:
        array: the main one: numeric, of any shape.
        arrays: further ones of the same sample, by name, such as `mask`.
        header: what the file's header says, as one line of text; empty if the reader is not surveyed.
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
        options: fields of `ShardOptions` that mean something for it, and nothing for readers that do not name them too.
        surveyed: whether `header` is asked of every file before the plan is made, which decides channels and dtype; what is read
            then has the channels and the size that are wanted. Else both are left to the transforms.
        full_range: whether uint8 and uint16 stand for the same range of brightness, so that values are stretched from one to the other.
        has_members: whether a file may be a container, as a reader that overrides `members` says: it is asked of each file before the plan.
    """

    name: ClassVar[str]
    singular: ClassVar[str]
    files: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    looked_for: ClassVar[str] = ""
    options: ClassVar[frozenset[str]] = frozenset()
    surveyed: ClassVar[bool] = False
    full_range: ClassVar[bool] = False
    has_members: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Note whether a reader knows containers."""
        super().__init_subclass__()
        cls.has_members = cls.members is not Reader.members

    @abstractmethod
    def read(self, path: str, member: str, wanted: Wanted) -> Reading:
        """Read the arrays of an item, a pure function of the file's bytes and of what is wanted.

        Args:
            path: of the file.
            member: of the file, one of `members`; empty if the file is itself the item.
            wanted: of the arrays.

        Raises:
            ItemError: the file cannot be used; the message does not name it.
        """

    def members(self, path: Path) -> Sequence[str] | None:
        """Return the names of the items that a container file holds, in its order; None for a file that is itself one item.

        A name is relative, with `/`, and no two are equal: it stands in the manifest's column `member` and behind the file's name in the ID.

        Raises:
            ItemError: the file cannot be used.
        """
        return None

    def header(self, path: Path) -> ImageFacts:
        """Return what a file's header says; asked only of a reader that is surveyed.

        Raises:
            ItemError: as by `read`.
        """
        raise NotImplementedError

    def libraries(self) -> Mapping[str, str]:
        """Return the libraries whose release can change a value, with their versions: an item is built again when one changes."""
        return {}
