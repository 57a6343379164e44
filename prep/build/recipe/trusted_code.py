"""Which functions of the user's a build may run: those that this invocation names, or that its user has approved for the dataset.

A dataset may be a stranger's: that its stored recipe names code is no reason to run it. What was approved is recorded outside the dataset,
in a file per dataset below `$XDG_STATE_HOME/shardfeed/approved-code` (`~/.local/state` where that is not set), named by the SHA-256 of the
dataset's real path and readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manifests.files.atomic import replacing
from manifests.files.regularfile import open_regular
from prep.build.recipe.recipe import ShardOptions
from prep.errors import UsageError
from prep.progress.report import Reporter
from prep.transforms.load_user_code import Code, code_of, source_of
from prep.transforms.user_function import UserFunction

_FOLDER = Path("shardfeed", "approved-code")
_MOST_BYTES = 1 << 20


def with_named_code(shards: ShardOptions) -> ShardOptions:
    """Import functions that this invocation names, from where they are known to lie, the current folder, or what is installed.

    Raises:
        UsageError: a function cannot be imported, or does not take its parameters.
    """
    return shards.with_code((os.getcwd(),))


def with_stored_code(shards: ShardOptions, out: Path, stored: ShardOptions, *, allow: bool) -> ShardOptions:
    """Import functions that a dataset names, if its user has approved them; the current folder is not searched.

    Args:
        shards: options of the shards, with the functions that are stored.
        out: the dataset's folder.
        stored: the options that the dataset stores.
        allow: whether this invocation approves them.

    Raises:
        UsageError: a function is not approved, its code has changed since, or it cannot be imported.
    """
    functions = _functions(shards)
    approved = _approved_code(out, _digest(stored))
    folders = tuple(dict.fromkeys(folder for name in functions for folder in (approved[name].folders if name in approved else ())))
    if not allow:
        _check(out, functions, approved, folders)
    loaded = shards.with_code(folders)
    if not allow and any(code_of(name, folders).modules != approved[name].modules for name in functions):  # changed in this moment
        _check(out, functions, {}, folders)
    return loaded


def remember_code(out: Path, shards: ShardOptions, report: Reporter) -> None:
    """Record that the user of a build has approved its functions, for later builds of the dataset."""
    codes = {name: code_of(name, transform.folders) for name, transform in _functions(shards).items()}
    recipe = _digest(shards)
    if not codes or _approved_code(out, recipe) == codes:
        return
    try:
        _approve(out, recipe, codes)
    except OSError as error:
        why = f"{error.filename or ''}: {error.strerror or error}"
        report.note(
            f"the functions of the recipe cannot be recorded as approved ({why}); the next build needs --recipe or --allow-code again"
        )


def _check(out: Path, functions: Mapping[str, UserFunction], approved: Mapping[str, Code], folders: tuple[str, ...]) -> None:
    """Refuse functions that are not approved as they are now; nothing is imported.

    Raises:
        UsageError: there is one.
    """
    for name in functions:
        module = name.partition(":")[0]
        found = source_of(module, folders)
        where = f"{name} ({found or f'no source file of a module {module!r} was found outside the current folder'})"
        if name not in approved:
            raise UsageError(
                f"{out}: its recipe runs the function {where}, which you have not approved for this dataset; "
                "pass --allow-code if you trust it, or name it with --recipe"
            )
        if any(_source_digest(module, folders) != sha256 for module, sha256 in approved[name].modules.items()):
            raise UsageError(
                f"{out}: its recipe runs the function {where}, whose code has changed since you approved it; "
                "pass --allow-code if you trust it, or name it with --recipe"
            )


def _functions(shards: ShardOptions) -> dict[str, UserFunction]:
    return {transform.function: transform for transform in shards.transforms or () if isinstance(transform, UserFunction)}


def _digest(shards: ShardOptions) -> str:
    """Return the SHA-256 of options as a dataset stores them."""
    return hashlib.sha256(json.dumps(shards.as_dict(), sort_keys=True).encode()).hexdigest()


def _source_digest(module: str, folders: tuple[str, ...]) -> str:
    path = source_of(module, folders)
    try:
        return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _approval_path(out: Path) -> Path:
    """Return where the record of a dataset is, or would be.

    Raises:
        OSError: this user has no home.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):  # as the XDG specification has it; a relative one would lead into the current folder
        home = os.path.expanduser("~/.local/state")
    if not os.path.isabs(home):
        raise FileNotFoundError(2, "no home folder is known, and XDG_STATE_HOME is not set", "~")
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()
    return Path(home) / _FOLDER / f"{name}.json"


def _approved_code(out: Path, recipe: str) -> Mapping[str, Code]:
    """Return the functions that this user has approved for a dataset, by name; none if there is no record that can be believed.

    Believed is a regular file of this user's that nobody else can write, for this dataset and this recipe.

    Args:
        out: the dataset's folder.
        recipe: digest of the options that the dataset stores.
    """
    try:
        path = _approval_path(out)
        if path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(out)):
            return {}
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_size > _MOST_BYTES:
                return {}
            record = json.loads(file.read())
        if (record["dataset"], record["recipe"]) != (os.path.realpath(out), recipe):
            return {}
        return {str(name): _code(raw) for name, raw in record["functions"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # it is not what this release writes
        return {}


def _approve(out: Path, recipe: str, functions: Mapping[str, Code]) -> None:
    """Record that this user has approved functions for a dataset, in place of all that was approved for it before.

    Raises:
        OSError: the record cannot be written.
    """
    path = _approval_path(out)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = {"dataset": os.path.realpath(out), "recipe": recipe, "functions": {name: asdict(code) for name, code in functions.items()}}
    with replacing(path) as file:
        os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        file.write(json.dumps(record, indent=2, sort_keys=True).encode())


def _code(raw: Any) -> Code:
    folders, modules = raw["folders"], dict(raw["modules"])
    if not modules or not all(isinstance(text, str) for text in (*folders, *modules, *modules.values())):
        raise TypeError("a record is of texts")
    return Code(folders=tuple(folders), modules=modules)
