"""Writing a recipe as `recipe.toml`, which `read_toml` reads back as the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli_w

from prep.build.recipe.options import BuildOptions
from prep.splits.spec import SplitSpec


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
        "splits": _splits(options.splits),
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
    return tomli_w.dumps(document, multiline_strings=False)


def _splits(spec: SplitSpec | None) -> dict[str, Any]:
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
