"""`prep recipe`: print options as a recipe.toml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from prep.build.recipe.recipe_toml import recipe_text
from prep.cli.flags.data_options import PATH, build_options, recipe_options
from prep.cli.output import DONE, answer, json_option
from prep.sources.detect import list_source


@click.command(short_help="Print options as a recipe.toml.")
@click.argument("source", type=PATH)
@recipe_options
@json_option
def recipe(source: Path, *, as_json: bool, **values: Any) -> int:
    """Print the given options as a recipe.toml for build-shards --recipe; both ways give the same bytes.

    SOURCE is only listed, to see what kind of files it has; no raw file is read, and nothing is written.

    \b
    Example:
      prep recipe photos/ --size 32x32 --scale unit --split train=0.8,val=0.2 > recipe.toml
      prep build-shards photos/ data/ --recipe recipe.toml
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks
    options = build_options(values)
    listing = list_source(source, options.source)
    options.shards.of_reader(listing.format)
    if options.source.format in {None, "auto"}:
        options = replace(options, source=replace(options.source, format=listing.format if source.is_dir() else "table"))
    text = recipe_text(options)
    answer({"recipe": text}, text.rstrip("\n"), as_json=as_json)
    return DONE
