"""Write the parts of the documentation that the code knows best; with `--check`, only say whether they are up to date.

python docs/generate.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sys
import tomllib
from pathlib import Path

import click

from manifests.format.schema import ARRAY_COLUMNS, COLUMNS
from prep.build.recipe.recipe_toml import sections
from prep.cli.app import cli
from prep.transforms.interface.transform import Transform
from prep.transforms.registry import TRANSFORMS

DOCS = Path(__file__).parent
BEGIN, END = "<!-- generated: {name} -->", "<!-- end: {name} -->"


def columns_table() -> str:
    """Return the manifest's columns as a Markdown table."""
    rows = ["| column | what | example | required |", "|---|---|---|---|"]
    for column in (*COLUMNS, *ARRAY_COLUMNS):
        example = f"`{column.example}`" if column.example else ""
        rows.append(f"| `{column.name}` | {column.description} | {example} | {'yes' if column.required else 'no'} |")
    return "\n".join(rows)


def command_reference() -> str:
    """Return every command's help as Markdown; the layout is ours, so that it does not change with click's."""
    return "\n\n".join(_command(name, command) for name, command in sorted(cli.commands.items()))


def _command(name: str, command: click.Command) -> str:
    arguments = [_metavar(param) for param in command.params if isinstance(param, click.Argument)]
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    example = "\n".join(line.strip() for line in examples.splitlines()[1:])
    rows = ["| option | what |", "|---|---|"]
    rows += [f"| {_flags(option)} | {_cell(option)} |" for option in command.params if isinstance(option, click.Option)]
    usage = " ".join(["prep", name, *arguments, "[options]"])
    return "\n\n".join([f"## {usage}", text.strip(), f"```sh\n{example}\n```", "\n".join(rows)])


def _metavar(param: click.Parameter) -> str:
    return param.metavar or str(param.name).upper()


def _flags(option: click.Option) -> str:
    flags = " ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
    if option.is_flag:
        return flags
    value = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.metavar or option.type.name.upper()
    return f"{flags} {value.removesuffix(' RANGE')}".replace("|", "\\|")


def _cell(option: click.Option) -> str:
    default = f" Default: `{option.default}`." if option.show_default else ""
    return f"{option.help}{' Required.' if option.required else ''}{default}"


def recipe_sections() -> str:
    """Return the sections of a recipe and their keys as a Markdown table."""
    rows = ["| section | key | what | expected |", "|---|---|---|---|"]
    for section, keys in sections().items():
        rows += [f"| `[{section}]` | `{key}` | {doc} | {kind.expected} |" for key, (kind, doc) in keys.items()]
    return "\n".join(rows)


def transform_reference() -> str:
    """Return every ready transform with its parameters as Markdown."""
    return "\n\n".join(_transform(kind) for _, kind in sorted(TRANSFORMS.items()))


def _transform(kind: type[Transform]) -> str:
    parts = [f"### {kind.name}", inspect.cleandoc(kind.__doc__ or "").replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n")]
    params = dataclasses.fields(kind)
    rows = ["| parameter | what | expected | default |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | {field.metadata['doc']} | {field.metadata['kind'].expected} | {_default(field.default)} |" for field in params
    ]
    return "\n\n".join([*parts, "\n".join(rows)] if params else parts)


def _default(default: object) -> str:
    if default is dataclasses.MISSING:
        return "required"
    return "" if default is None else f"`{default!r}`".replace("'", '"')


def room_tables() -> str:
    """Return the rooms of each package as Markdown tables: what lives there, and what it may import by the contracts of import-linter."""
    with (DOCS.parent / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if "containers" in contract}
    return "\n\n".join(_room_table(package, layers) for package in ("prep", "loader", "manifests"))


def _room_table(package: str, layers: dict[str, list[str]]) -> str:
    rows = [f"| room of `{package}/` | what lives there | may import |", "|---|---|---|", *_rooms(package, "", layers)]
    return "\n".join(rows)


def _rooms(package: str, prefix: str, layers: dict[str, list[str]]) -> list[str]:
    """Return a row for each room, highest layer first; the rooms within one come right behind it."""
    root = DOCS.parent / package.replace(".", "/")
    groups = [layer.split(" | ") for layer in layers[package]]
    rows = []
    for number, group in enumerate(groups):
        below = ", ".join(_room(root, prefix, name) for name in groups[number + 1]) + " and below" if number + 1 < len(groups) else ""
        if number + 2 == len(groups):
            below = below.removesuffix(" and below")
        for name in group:
            path = root / name
            rows.append(f"| {_room(root, prefix, name)} | {_first_line(path)} | {below or '-'} |")
            if path.is_dir():
                inner = f"{package}.{name}"
                if inner in layers:
                    rows += _rooms(inner, f"{prefix}{name}/", layers)
                else:
                    within = sorted(folder for folder in path.iterdir() if (folder / "__init__.py").is_file())
                    rows += [f"| {_room(path, f'{prefix}{name}/', each.name)} | {_first_line(each)} | as `{name}/` |" for each in within]
    return rows


def _room(folder: Path, prefix: str, name: str) -> str:
    return f"`{prefix}{name}/`" if (folder / name).is_dir() else f"`{prefix}{name}.py`"


def _first_line(path: Path) -> str:
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


GENERATED = {
    "architecture.md": {"rooms": room_tables},
    "manifest-format.md": {"columns": columns_table},
    "cli.md": {"commands": command_reference},
    "guides/recipes.md": {"sections": recipe_sections, "transforms": transform_reference},
}


def regenerated(text: str, name: str, content: str) -> str:
    """Return a page with the content between its markers replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"no markers {begin} ... {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def main() -> int:
    """Write or check every page; return 1 if a check finds one out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for page, parts in GENERATED.items():
        path = DOCS / page
        old = path.read_text(encoding="utf-8")
        new = old
        for name, make in parts.items():
            new = regenerated(new, name, make())
        if new != old:
            stale.append(page)
            if not check:
                path.write_text(new, encoding="utf-8")
    for page in stale:
        print(f"docs/{page}: {'is out of date; run make docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
