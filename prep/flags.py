"""The flags that say what to build, for the commands that share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from prep.errors import UsageError
from prep.params import ScaleParam, SizeParam, SplitsParam
from prep.prepare import BuildOptions
from prep.recipe import ShardOptions
from prep.sources.detect import SourceOptions
from prep.sources.table import TableOptions
from prep.splits import SplitSpec, parse_splits

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path that a command checks itself, in its own words."""


def source_options(command: Command) -> Command:
    """Add the arguments and options that say what to build, for the commands that share them."""
    for option in reversed(
        (
            click.argument("source", type=PATH),
            click.argument("out", type=PATH),
            click.option(
                "--format",
                "format_",
                type=click.Choice(["auto", "images", "arrays", "table"]),
                default="auto",
                show_default=True,
                help="What SOURCE is; auto finds out and says so.",
            ),
            click.option("--labels", type=PATH, help="Table of IDs and labels for a folder as SOURCE."),
            click.option("--id-column", help="Column of the table that names the samples."),
            click.option("--path-column", help="Column of the table that names the files."),
            click.option(
                "--label",
                "label_columns",
                multiple=True,
                help="Column of the table with the label; repeat it for several, the primary one first.",
            ),
            click.option("--allow-empty-labels", is_flag=True, help="Take samples that have no label."),
            click.option(
                "--size", type=SizeParam(), metavar="HxW", help="Resize images to HEIGHTxWIDTH; shards are (height, width, channel)."
            ),
            click.option(
                "--color",
                type=click.Choice(["auto", "rgb", "gray"]),
                help="Channels of images; auto is 1 when every image is grey, else 3.",
            ),
            click.option(
                "--dtype", metavar="NAME", help="NumPy dtype of the shards, such as uint8 or float32; by default that of the raw data."
            ),
            click.option(
                "--scale",
                type=ScaleParam(),
                metavar="FACTOR|unit",
                help="Multiply values, for example by 1/255; unit divides integers by their dtype's greatest value.",
            ),
            click.option("--npz-key", help="Which array of .npz files to take."),
            click.option(
                "--split",
                "splits",
                type=SplitsParam(),
                metavar="NAME=SHARE,...",
                help="Shares of the splits, for example train=0.8,val=0.1,test=0.1.",
            ),
            click.option("--seed", type=int, help="Seed of the splits; 0 by default."),
            click.option("--prune", is_flag=True, help="Drop samples whose raw file is gone; else they stay."),
            click.option("--checksum", is_flag=True, help="Tell changed raw files by content, not by size and time."),
        )
    ):
        command = option(command)
    return command


def build_options(workers: int | None, values: dict[str, Any]) -> BuildOptions:
    """Return what the flags say, as the package takes it."""
    table = TableOptions(
        id_column=values["id_column"],
        path_column=values["path_column"],
        label_columns=values["label_columns"],
        allow_empty_labels=values["allow_empty_labels"],
    )
    return BuildOptions(
        source=SourceOptions(format=values["format_"], labels=values["labels"], table=table),
        shards=ShardOptions(
            size=values["size"], color=values["color"], dtype=values["dtype"], scale=values["scale"], npz_key=values["npz_key"]
        ),
        splits=splits_of(values["splits"], values["seed"]),
        workers=workers,
        prune=values["prune"],
        checksum=values["checksum"],
    )


def splits_of(text: str | None, seed: int | None) -> SplitSpec | None:
    """Return what `--split` and `--seed` say together; None without `--split`.

    Raises:
        UsageError: a seed without splits.
    """
    if text is None:
        if seed is not None:
            raise UsageError("--seed goes with --split; without it nothing is drawn")
        return None
    return parse_splits(text, seed or 0)
