"""How commands print results on stdout, as text or JSON, and their exit codes."""

from __future__ import annotations

import json
from typing import Any

import click

from manifests.text import terminal_text

DONE, DATA_PROBLEM, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")


def answer(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result, as JSON or as text."""
    if as_json:
        click.echo(json.dumps(result, default=vars, ensure_ascii=True, indent=2))
    else:
        click.echo(terminal_text(text, keep="\n").removesuffix("\n"))
