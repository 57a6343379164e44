"""The flags that say what to build, for the commands that share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from prep.errors import UsageError
from prep.options import BuildOptions
from prep.params import FoldersParam, ScaleParam, SizeParam, SplitsParam
from prep.recipe import ShardOptions
from prep.recipefile import read_recipe, with_flags
from prep.sources.detect import SourceOptions
from prep.sources.table import TableOptions
from prep.splits import SplitSpec, parse_fractions

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path that a command checks itself, in its own words."""


def recipe_options(command: Command) -> Command:
    """Add the options that a recipe can hold, and that of a recipe's file."""
    for option in reversed(
        (
            click.option(
                "--recipe",
                "recipe_path",
                type=PATH,
                metavar="TOML",
                help="Build by this recipe.toml; a flag beside it takes the place of what it stands for.",
            ),
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
            split_options,
        )
    ):
        command = option(command)
    return command


def source_options(command: Command) -> Command:
    """Add the arguments and options that say what to build, for the commands that share them."""
    command = click.option("--checksum", is_flag=True, help="Tell changed raw files by content, not by size and time.")(command)
    command = click.option("--prune", is_flag=True, help="Drop samples whose raw file is gone; else they stay.")(command)
    command = recipe_options(command)
    return click.argument("source", type=PATH)(click.argument("out", type=PATH)(command))


def build_options(values: dict[str, Any]) -> BuildOptions:
    """Return what the flags say, as the package takes it."""
    table = TableOptions(
        id_column=values["id_column"],
        path_column=values["path_column"],
        label_columns=values["label_columns"],
        allow_empty_labels=values["allow_empty_labels"],
    )
    recipe = values["recipe_path"]
    recipe_build = None if recipe is None else read_recipe(recipe)
    if recipe_build is not None and recipe_build.splits is not None and values["splits"] is None and values["seed"] is not None:
        recipe_build = replace(recipe_build, splits=replace(recipe_build.splits, seed=values["seed"]))
        values = {**values, "seed": None}
    flags = BuildOptions(
        source=SourceOptions(format=values["format_"], labels=values["labels"], table=table),
        shards=ShardOptions(
            size=values["size"], color=values["color"], dtype=values["dtype"], scale=values["scale"], npz_key=values["npz_key"]
        ),
        splits=splits_of(values),
        workers=values.get("workers"),
        prune=values.get("prune", False),
        checksum=values.get("checksum", False),
        item_timeout=values.get("item_timeout"),
        stop_after_failures=values.get("stop_after_failures"),
    )
    return flags if recipe_build is None else with_flags(recipe_build, flags)


def split_options(command: Command) -> Command:
    """Add the options that say what splits, groups and folds are."""
    for option in reversed(
        (
            click.option(
                "--split",
                "splits",
                type=SplitsParam(),
                metavar="NAME=SHARE,...",
                help="Shares of the splits, for example train=0.8,val=0.1,test=0.1.",
            ),
            click.option("--seed", type=int, help="Seed of the splits and folds; 0 by default."),
            click.option("--split-column", help="Column of the table that names each row's split."),
            click.option(
                "--split-from-folders",
                "split_folders",
                type=FoldersParam(),
                metavar="NAME/NAME/...",
                help="Top folders of the source that are the splits, for example train/val/test.",
            ),
            click.option("--group-by", help="Column of the table; samples of one value share a split and a fold."),
            click.option(
                "--group-regex",
                metavar="REGEX",
                help="Pattern searched in each raw file's path; what its first parentheses match is the group.",
            ),
            click.option("--folds", type=click.IntRange(min=2), help="Folds for cross-validation, of all that is not in the split test."),
        )
    ):
        command = option(command)
    return command


def splits_of(values: Mapping[str, Any]) -> SplitSpec | None:
    """Return what the options of `split_options` say together; None if none is given.

    Raises:
        UsageError: options that do not go together.
    """
    given = {
        "fractions": parse_fractions(values["splits"]) if values["splits"] is not None else {},
        "column": values["split_column"],
        "folders": values["split_folders"] or (),
        "group_by": values["group_by"],
        "group_regex": values["group_regex"],
        "folds": values["folds"],
    }
    for name in ("column", "group_by", "group_regex"):
        if given[name] == "":
            raise UsageError(f"--{'split-column' if name == 'column' else name.replace('_', '-')} must not be empty")
    if values["seed"] is not None and not given["fractions"] and given["folds"] is None:
        raise UsageError("--seed goes with --split or --folds; without them nothing is drawn")
    return SplitSpec(**given, seed=values["seed"] or 0) if any(given.values()) else None
