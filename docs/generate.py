"""Write the parts of the documentation that the code knows best; with `--check`, only say whether they are up to date.

python docs/generate.py [--check]
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from pathlib import Path

import click

from manifests.schema import COLUMNS
from prep.cli import cli
from prep.recipefile import SECTIONS
from prep.transforms.registry import TRANSFORMS
from prep.transforms.transform import Transform

DOCS = Path(__file__).parent
BEGIN, END = "<!-- generated: {name} -->", "<!-- end: {name} -->"


def columns_table() -> str:
    """Return the manifest's columns as a Markdown table."""
    rows = ["| column | what | example | required |", "|---|---|---|---|"]
    for column in COLUMNS:
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
    for section, keys in SECTIONS.items():
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


GENERATED = {
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
