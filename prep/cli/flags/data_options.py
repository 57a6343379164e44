"""Options that say what to build (source, labels, size, splits), for the commands that share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from manifests.format.metadata import LabelKind
from prep.build.recipe.options import REMEMBERED, BuildOptions
from prep.build.recipe.recipe import ShardOptions
from prep.build.recipe.recipe_toml import read_recipe, with_flags
from prep.cli.flags.value_types import FoldersParam, LabelKindParam, ScaleParam, SizeParam, SplitsParam, flag_value
from prep.errors import UsageError
from prep.readers.registry import readers_with_option, ready_options
from prep.sources.detect import SourceOptions, format_choices
from prep.sources.table_options import TableOptions
from prep.splits.spec import SplitSpec, parse_fractions

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path that a command checks itself, in its own words."""


def label_kind_option(command: Command) -> Command:
    """Add the option that says whether labels are classes or numbers."""
    return click.option(
        "--label-kind",
        "label_kinds",
        type=LabelKindParam(),
        multiple=True,
        metavar="[COLUMN=]class|number",
        help="Whether labels are class names, or numbers such as ages or prices (regression targets); COLUMN= sets it for one of several "
        "label columns. By default, labels that are all numbers count as numbers if at least one is not an integer.",
    )(command)


def label_kind_of(given: Sequence[tuple[str, LabelKind]]) -> LabelKind | dict[str, LabelKind] | None:
    """Return what the option says in all.

    Raises:
        UsageError: it says two things of a column.
    """
    columns = [column for column, _ in given]
    if len(set(columns)) < len(columns) or ("" in columns and len(columns) > 1):
        raise UsageError("give --label-kind once for all label columns, or once per column as COLUMN=class or COLUMN=number")
    return dict(given).get("") or dict(given) or None


def recipe_options(command: Command) -> Command:
    """Add the options that a recipe can hold, and that of a recipe's file."""
    for option in reversed(
        (
            click.option(
                "--recipe",
                "recipe_path",
                type=PATH,
                metavar="TOML",
                help="Read options from this recipe.toml; options on the command line take precedence.",
            ),
            click.option(
                "--format",
                "format_",
                type=click.Choice(format_choices()),
                help="Kind of SOURCE; auto (default of a first build) detects it and prints what it found.",
            ),
            click.option("--labels", type=PATH, help="Table of IDs and labels, if SOURCE is a folder."),
            click.option("--id-column", help="Column of the table with the sample IDs."),
            click.option("--path-column", help="Column of the table with the file names."),
            click.option(
                "--label",
                "label_columns",
                multiple=True,
                help="Column of the table with the label; repeat it for several, the main one first.",
            ),
            label_kind_option,
            click.option(
                "--label-from",
                type=click.Choice(["parent", "top"]),
                help="Folder whose name is the class of a file: its parent (default of a first build), or the top one below SOURCE. "
                "Folders given to --split-from-folders are not classes.",
            ),
            click.option(
                "--allow-empty-labels/--no-allow-empty-labels",
                default=None,
                help="Accept samples without a label, or refuse them (default of a first build).",
            ),
            click.option(
                "--size", type=SizeParam(), metavar="HxW", help="Resize images to HEIGHTxWIDTH; shards have shape (height, width, channel)."
            ),
            click.option(
                "--dtype", metavar="NAME", help="NumPy dtype of the shards, such as uint8 or float32; by default the dtype of the raw data."
            ),
            click.option(
                "--scale",
                type=ScaleParam(),
                metavar="FACTOR|unit",
                help="Multiply values by a factor such as 1/255; unit divides integers by the maximum of their dtype.",
            ),
            reader_options,
            split_options,
        )
    ):
        command = option(command)
    return command


def reader_options(command: Command) -> Command:
    """Add the options of the readers."""
    command = click.option(
        "--option",
        "other_options",
        multiple=True,
        metavar="NAME=VALUE",
        help="Option of a reader that another package registers; can be given several times.",
    )(command)
    for name, (kind, doc) in reversed(list(ready_options().items())):
        flag = f"--{name.replace('_', '-')}"
        type_ = click.Choice(kind.words) if kind.words else None
        command = click.option(flag, name, type=type_, help=f"{doc[0].upper()}{doc[1:]}.")(command)
    return command


def reader_options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options of `reader_options` say, by their names.

    Raises:
        UsageError: one has no name, or is given twice.
    """
    given = {name: flag_value(kind, values[name]) for name, (kind, _) in ready_options().items() if values[name] is not None}
    for text in values["other_options"]:
        flag, has_value, value = text.partition("=")
        name = flag.replace("-", "_")
        if not has_value or not name or name in given:
            raise UsageError(f"--option takes NAME=VALUE, each name once, got {text!r}")
        found = readers_with_option(name)
        given[name] = flag_value(found[0].Options.kinds()[name][0], value) if found else value
    return given


allow_code_option = click.option(
    "--allow-code",
    is_flag=True,
    help="Run the functions (module:function) that the stored recipe of OUT names, and remember that you approve them. Functions "
    "in --recipe need no approval.",
)


def source_options(command: Command) -> Command:
    """Add the arguments and options that say what to build, for the commands that share them."""
    command = allow_code_option(command)
    command = click.option(
        "--forget",
        multiple=True,
        metavar="OPTION",
        help="Do not repeat this option of the last build; can be given several times. OPTION is an option of a reader or one of: "
        f"{', '.join(REMEMBERED)}.",
    )(command)
    command = click.option(
        "--checksum/--no-checksum",
        default=None,
        help="Detect changed raw files by content, or by size and time (default of a first build).",
    )(command)
    command = click.option(
        "--prune", is_flag=True, help="Drop samples whose raw file is gone; by default they stay. Not repeated by the next build."
    )(command)
    command = recipe_options(command)
    return click.argument("source", type=PATH)(click.argument("out", type=PATH)(command))


def build_options(values: dict[str, Any]) -> BuildOptions:
    """Return what the flags say, as the package takes it."""
    table = TableOptions(
        id_column=values["id_column"],
        path_column=values["path_column"],
        label_columns=values["label_columns"],
        label_kind=label_kind_of(values["label_kinds"]),
        allow_empty_labels=values["allow_empty_labels"],
    )
    recipe = values["recipe_path"]
    recipe_build = None if recipe is None else read_recipe(recipe)
    if recipe_build is not None and recipe_build.splits is not None and values["splits"] is None and values["seed"] is not None:
        recipe_build = replace(recipe_build, splits=replace(recipe_build.splits, seed=values["seed"]))
        values = {**values, "seed": None}
    flags = BuildOptions(
        source=SourceOptions(format=values["format_"], labels=values["labels"], table=table, label_from=values["label_from"]),
        shards=ShardOptions(size=values["size"], dtype=values["dtype"], scale=values["scale"], reader=reader_options_of(values)),
        splits=splits_of(values),
        workers=values.get("workers"),
        prune=values.get("prune", False),
        checksum=values.get("checksum"),
        item_timeout=values.get("item_timeout"),
        stop_after_failures=values.get("stop_after_failures"),
        allow_code=values.get("allow_code", False),
        forget=tuple(values.get("forget", ())),
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
                help="Splits and their shares, for example train=0.8,val=0.1,test=0.1.",
            ),
            click.option("--seed", type=int, help="Seed for drawing splits and folds; 0 by default."),
            click.option("--split-column", help="Column of the table with each row's split."),
            click.option(
                "--split-from-folders",
                "split_folders",
                type=FoldersParam(),
                metavar="NAME/NAME/...",
                help="Top folders of the source that are the splits, for example train/val/test.",
            ),
            click.option("--group-by", help="Column of the table; samples with the same value get the same split and fold."),
            click.option(
                "--group-regex",
                metavar="REGEX",
                help="Regular expression to search for in each raw file's path; what its first parentheses match is the group.",
            ),
            click.option("--folds", type=click.IntRange(min=2), help="Number of cross-validation folds; the split test is in none."),
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
        raise UsageError("--seed needs --split or --folds; without them nothing is drawn")
    return SplitSpec(**given, seed=values["seed"] or 0) if any(given.values()) else None
