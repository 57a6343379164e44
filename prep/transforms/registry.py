"""The transforms by name, and reading them from a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from typing import Any

from prep.readers.parameters import Kind
from prep.transforms.cast import Cast
from prep.transforms.crop import Crop
from prep.transforms.gray import Gray
from prep.transforms.interface.problems import RecipeProblem, found, one_of
from prep.transforms.interface.transform import Transform
from prep.transforms.load_user_code import LoadError, check_arguments, load_function
from prep.transforms.pad import Pad
from prep.transforms.resize import Resize
from prep.transforms.scale import Scale
from prep.transforms.tile import Tile
from prep.transforms.transpose import Transpose
from prep.transforms.user_function import UserFunction, is_function_name, param_problem, user_function

TRANSFORMS: Mapping[str, type[Transform]] = {kind.name: kind for kind in (Cast, Crop, Gray, Pad, Resize, Scale, Tile, Transpose)}
"""The ready ones."""

_ALIASES = {"grey": "gray"}

MAX_TRANSFORMS = 100


def read_transforms(raw: object, folders: Sequence[str] = ()) -> tuple[dict[int, Transform], list[RecipeProblem]]:
    """Read a recipe's transforms; nothing of the user's is imported.

    Args:
        raw: the value of the key `transforms`.
        folders: where modules of the user's may lie.

    Returns:
        Place -> transform of those that are sound, in order; and everything that is wrong with the others.
    """
    if not isinstance(raw, list) or len(raw) > MAX_TRANSFORMS:
        return {}, [RecipeProblem("transforms", f"a list of at most {MAX_TRANSFORMS} tables [[transforms]]", found(raw))]
    made: dict[int, Transform] = {}
    problems: list[RecipeProblem] = []
    for number, table in enumerate(raw):
        key = f"transforms[{number}]"
        if not isinstance(table, dict):
            problems.append(RecipeProblem(key, "a table with a name", found(table)))
            continue
        transform, wrong = _read_one(key, table, folders)
        problems += wrong
        if transform is not None:
            made[number] = transform
    return made, problems


def with_code(transforms: Mapping[int, Transform], folders: Sequence[str]) -> tuple[tuple[Transform, ...], list[RecipeProblem]]:
    """Import the functions of the user's, and give each transform the digest of its code.

    Args:
        transforms: by their place in the recipe, in order.
        folders: where modules of the user's may lie.

    Returns:
        The transforms in the same order, and what is wrong with functions and their parameters.
    """
    made: list[Transform] = []
    problems: list[RecipeProblem] = []
    for number, transform in transforms.items():
        if not isinstance(transform, UserFunction):
            made.append(transform)
            continue
        searched = tuple(dict.fromkeys([*transform.folders, *folders]))
        try:
            function, code = load_function(transform.function, searched)
        except LoadError as error:
            found_ = f"{transform.function!r}: {error}"
            problems.append(RecipeProblem(f"transforms[{number}].name", "a function that can be imported", found_))
            continue
        wrong = check_arguments(function, transform.arguments)
        if wrong is not None:
            problems.append(RecipeProblem(f"transforms[{number}]", f"parameters of {transform.function}", wrong))
        made.append(replace(transform, code=code, folders=searched))
    return tuple(made), problems


def _read_one(key: str, table: Mapping[str, Any], folders: Sequence[str]) -> tuple[Transform | None, list[RecipeProblem]]:
    name = table.get("name")
    if not isinstance(name, str):
        return None, [RecipeProblem(f"{key}.name", "the name of a transform", found(name) if "name" in table else "none")]
    params = {param: value for param, value in table.items() if param != "name"}
    if ":" in name:
        return _read_function(key, name, params, folders)
    kind = TRANSFORMS.get(_ALIASES.get(name, name))
    if kind is None:
        return None, [RecipeProblem(f"{key}.name", f"{one_of(TRANSFORMS, name)}, or a function of yours as 'module:function'", found(name))]
    known = {field.name: field for field in fields(kind)}
    problems = [
        RecipeProblem(f"{key}.{param}", f"a parameter of {kind.name}: {one_of(known, param)}", "an unknown key")
        for param in params
        if param not in known
    ]
    values: dict[str, Any] = {}
    for param, field in known.items():
        problems += _read_param(key, param, field, params, values)
    if problems:
        return None, problems
    transform = kind(**values)
    problems = [RecipeProblem(f"{key}.{param}", expected, found(params.get(param))) for param, expected in transform.check().items()]
    return (None if problems else transform), problems


def _read_param(key: str, param: str, field: Field[Any], params: Mapping[str, Any], values: dict[str, Any]) -> list[RecipeProblem]:
    kind: Kind = field.metadata["kind"]
    if param not in params:
        return [RecipeProblem(f"{key}.{param}", kind.expected, "none")] if field.default is MISSING else []
    try:
        values[param] = kind.read(params[param])
    except (ValueError, TypeError, OverflowError):
        return [RecipeProblem(f"{key}.{param}", kind.expected, found(params[param]))]
    return []


def _read_function(key: str, name: str, params: Mapping[str, Any], folders: Sequence[str]) -> tuple[Transform | None, list[RecipeProblem]]:
    if not is_function_name(name):
        return None, [RecipeProblem(f"{key}.name", "'module:function'", found(name))]
    problems = [
        RecipeProblem(f"{key}.{param}", expected, found(value))
        for param, value in params.items()
        if (expected := param_problem(value)) is not None
    ]
    return (None if problems else user_function(name, params, folders)), problems
