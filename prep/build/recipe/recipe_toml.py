"""`recipe.toml`: how to build, as a file that is checked whole before anything is done; reading and writing it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

from manifests.files.regularfile import open_regular
from manifests.format.metadata import LabelKind
from prep.build.recipe.options import BuildOptions
from prep.build.recipe.recipe import ShardOptions
from prep.errors import UsageError
from prep.readers.limits import MAX_RECIPE_BYTES
from prep.readers.parameters import DTYPE, TEXT, Kind, choice, exact_number, is_int
from prep.readers.registry import readers_with_option, ready_options
from prep.sources.detect import SourceOptions, format_choices
from prep.sources.table_options import TableOptions
from prep.splits.spec import SplitSpec
from prep.transforms.interface.problems import RecipeProblem, found, one_of, refusal
from prep.transforms.registry import read_transforms, with_code
from prep.transforms.resize import Resize
from prep.transforms.scale import Scale

_TRANSFORMS = "transforms"


def _of_type(expected: str, is_right: Callable[[Any], bool]) -> Kind:
    def read(value: Any) -> Any:
        if not is_right(value):
            raise ValueError
        return value

    return Kind(expected, read)


def _fractions(value: Any) -> dict[str, Fraction]:
    if not isinstance(value, dict) or not value:
        raise ValueError
    # By way of text: 0.1 is meant as a tenth, not as the float nearest to it.
    shares = {name: exact_number(str(share)) for name, share in value.items() if not isinstance(share, bool) and len(str(share)) <= 40}
    if len(shares) != len(value) or not all(name and 0 < share <= 1 for name, share in shares.items()) or sum(shares.values()) != 1:
        raise ValueError
    return shares


def _label_kind(value: Any) -> Any:
    kinds = list(value.values()) if isinstance(value, dict) else [value]
    if not kinds or not all(isinstance(kind, str) and kind in get_args(LabelKind) for kind in kinds):
        raise ValueError
    return value


_TEXTS = _of_type("a list of texts", lambda value: isinstance(value, list) and all(isinstance(item, str) and item for item in value))
_TRUTH = _of_type("true or false", lambda value: isinstance(value, bool))

_OTHERS: Mapping[str, Mapping[str, tuple[Kind, str]]] = {
    "labels": {
        "table": (TEXT, "table of IDs and labels for a folder as SOURCE; a path relative to the recipe's folder"),
        "id_column": (TEXT, "column of the table that names the samples"),
        "path_column": (TEXT, "column of the table that names the files"),
        "columns": (_TEXTS, "columns of the table with labels, the primary one first"),
        "kind": (
            Kind("'class' or 'number', or a table of columns and one of them, such as {age = 'number'}", _label_kind),
            "whether labels are classes or numbers; what they look like if left out",
        ),
        "from": (choice("parent", "top"), "folder that is the class of a file, where there is no table"),
        "allow_empty": (_TRUTH, "take samples that have no label"),
    },
    "splits": {
        "fractions": (
            Kind("a table of names and shares above 0 that add up to 1, such as {train = 0.8, val = '1/5'}", _fractions),
            "shares of the splits",
        ),
        "seed": (_of_type("an integer from 0", lambda value: is_int(value, 0)), "seed of the splits and folds; 0 if left out"),
        "column": (TEXT, "column of the table that names each row's split"),
        "folders": (_TEXTS, "top folders of the source that are the splits"),
        "group_by": (TEXT, "column of the table; samples of one value share a split and a fold"),
        "group_regex": (TEXT, "pattern searched in each raw file's path; what its first parentheses match is the group"),
        "folds": (_of_type("an integer from 2", lambda value: is_int(value, 2)), "folds of all that is not in the split `test`"),
    },
    "output": {
        "dtype": (DTYPE, "of the shards; that of what the transforms give if left out"),
    },
}


def sections() -> Mapping[str, Mapping[str, tuple[Kind, str]]]:
    """Return what a recipe may have: section -> key -> what it may be and what it means; `transforms` is a list of tables beside them."""
    return {"source": {"format": (choice(*format_choices()), "what SOURCE is"), **ready_options()}, **_OTHERS}


def read_recipe(path: str | Path) -> BuildOptions:
    """Read a recipe's file; it stands for all that it may say, so what it leaves out is at its default.

    Functions of the user's are imported, from the recipe's folder, the current one, or what is installed.

    Raises:
        UsageError: the file cannot be read, or something in it is wrong; every problem is told with its key.
    """
    path = Path(path)
    raw = _parsed(path)
    folder = Path(os.path.abspath(path.parent))
    values, problems = _read_sections(raw)
    transforms, wrong = read_transforms(raw.get(_TRANSFORMS, []), (str(folder),))
    problems += [*wrong, *with_code(transforms, (str(folder), os.getcwd()))[1]]
    if "seed" in values["splits"] and not {"fractions", "folds"} & set(raw.get("splits", {})):
        problems.append(RecipeProblem("splits.fractions", "shares for the seed to draw, or folds", "none"))
    splits = _splits(values["splits"], problems)
    if problems:
        raise refusal(str(path), problems)
    source, labels = values["source"], values["labels"]
    shards = ShardOptions.of_transforms(
        list(transforms.values()),
        dtype=values["output"].get("dtype"),
        reader={name: value for name, value in source.items() if name != "format"},
    )
    table = TableOptions(
        id_column=labels.get("id_column"),
        path_column=labels.get("path_column"),
        label_columns=tuple(labels.get("columns", ())),
        label_kind=labels.get("kind"),
        allow_empty_labels=labels.get("allow_empty"),
    )
    label_table = folder / labels["table"] if "table" in labels else None
    return BuildOptions(
        source=SourceOptions(format=source.get("format"), labels=label_table, table=table, label_from=labels.get("from")),
        shards=shards,
        splits=splits,
        whole=True,
    )


def _splits(given: dict[str, Any], problems: list[RecipeProblem]) -> SplitSpec | None:
    """Return what the section says; what does not go together is added to the problems."""
    if not given or set(given) == {"seed"}:
        return None
    try:
        return SplitSpec(**{**given, "folders": tuple(given.get("folders", ()))})
    except UsageError as error:
        problems.append(RecipeProblem("splits", str(error), ", ".join(given)))
        return None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
    except (OSError, ValueError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        why = "no such file" if is_missing else "is a folder" if path.is_dir() else getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: the recipe cannot be read: {why}; expected a TOML file") from error
    if len(data) > MAX_RECIPE_BYTES:
        raise UsageError(f"{path}: has more than {MAX_RECIPE_BYTES:,} bytes, which no recipe has; expected a TOML file")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no UTF-8 (byte {error.start}); expected a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is no TOML: {error}") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise UsageError(f"{path}: is no TOML that can be read: {type(error).__name__}: {str(error)[:100]}") from error


def _read_sections(raw: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[RecipeProblem]]:
    problems = [
        RecipeProblem(key, f"a section of a recipe: {one_of([*sections(), _TRANSFORMS], key)}", "an unknown key")
        for key in raw
        if key not in sections() and key != _TRANSFORMS
    ]
    values: dict[str, dict[str, Any]] = {}
    for section, known in sections().items():
        values[section] = {}
        table = raw.get(section, {})
        if not isinstance(table, dict):
            problems.append(RecipeProblem(section, f"a section [{section}]", found(table)))
            continue
        for key, value in table.items():
            kind = known[key][0] if key in known else _option_kind(key) if section == "source" else None
            if kind is None:
                problems.append(RecipeProblem(f"{section}.{key}", f"a key of [{section}]: {one_of(known, key)}", "an unknown key"))
                continue
            try:
                values[section][key] = kind.read(value)
            except (ValueError, TypeError, ZeroDivisionError, OverflowError):
                problems.append(RecipeProblem(f"{section}.{key}", kind.expected, found(value)))
    return values, problems


def _option_kind(name: str) -> Kind | None:
    """Return what an option of another package's reader may be; None if no reader has it."""
    found = readers_with_option(name)
    return found[0].Options.kinds()[name][0] if found else None


def with_flags(recipe: BuildOptions, flags: BuildOptions) -> BuildOptions:
    """Return a recipe in which a flag takes the place of what it stands for.

    Raises:
        UsageError: a flag contradicts transforms of the recipe that it does not stand for.
    """
    transforms = recipe.shards.transforms or ()
    for flag, value, kind in (("--size", flags.shards.size, Resize), ("--scale", flags.shards.scale, Scale)):
        if value is not None and any(isinstance(transform, kind) for transform in transforms):
            raise UsageError(
                f"{flag} contradicts the recipe, which has a {kind.name} of its own that {flag} does not stand for; change it there"
            )
    source, given = recipe.source, flags.source
    table = TableOptions(
        id_column=given.table.id_column or source.table.id_column,
        path_column=given.table.path_column or source.table.path_column,
        label_columns=given.table.label_columns or source.table.label_columns,
        label_kind=given.table.label_kind or source.table.label_kind,
        allow_empty_labels=source.table.allow_empty_labels if given.table.allow_empty_labels is None else given.table.allow_empty_labels,
    )
    return replace(
        flags,
        source=SourceOptions(
            format=given.format or source.format,
            label_from=given.label_from or source.label_from,
            labels=given.labels or source.labels,
            table=table,
        ),
        shards=flags.shards.filled_from(recipe.shards),
        splits=flags.splits or recipe.splits,
        whole=True,
    )


def recipe_text(options: BuildOptions, folder: Path | None = None) -> str:
    """Return a recipe's TOML; what is at its default is left out.

    Args:
        options: how to build; numbers of workers and the like are no part of a recipe.
        folder: where the recipe will lie, to which the path of a table of labels is written relative; None writes it as absolute.
    """
    source, shards, table = options.source, options.shards, options.source.table
    labels = source.labels
    sections: dict[str, dict[str, Any]] = {
        "source": {
            "format": None if source.format == "auto" else source.format,
            **shards.reader,
        },
        "labels": {
            "table": None if labels is None else os.path.abspath(labels) if folder is None else os.path.relpath(labels, folder),
            "id_column": table.id_column,
            "path_column": table.path_column,
            "columns": list(table.label_columns) or None,
            "kind": table.label_kind,
            "from": source.label_from,
            "allow_empty": table.allow_empty_labels or None,
        },
        "splits": _splits_section(options.splits),
        "output": {"dtype": shards.dtype},
    }
    written = {name: {key: value for key, value in section.items() if value is not None} for name, section in sections.items()}
    transforms = [transform.as_dict() for transform in shards.all_transforms()]
    document: dict[str, Any] = {name: section for name, section in written.items() if section}
    if transforms:
        # In the order in which things happen; each transform is a [[transforms]] of its own, as tomli-w writes what is long.
        document = {name: document[name] for name in ("source", "labels") if name in document}
        document["transforms"] = transforms
        document |= {name: section for name, section in written.items() if section and name not in document}
    import tomli_w  # noqa: PLC0415  # which few commands need

    return tomli_w.dumps(document, multiline_strings=False)


def _splits_section(spec: SplitSpec | None) -> dict[str, Any]:
    if spec is None:
        return {}
    return {
        "seed": spec.seed if spec.fractions or spec.folds else None,
        "fractions": {name: str(share) for name, share in spec.fractions.items()} or None,
        "column": spec.column,
        "folders": list(spec.folders) or None,
        "group_by": spec.group_by,
        "group_regex": spec.group_regex,
        "folds": spec.folds,
    }
