"""The command line: every command is a thin shell around one function of the package.

Exit codes: 0 done, 1 the data has a problem, 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module

import click

from manifests.errors import ManifestError
from manifests.text import terminal_text
from prep.cli.output import DATA_PROBLEM, DONE, INTERRUPTED, TERMINATED, WRONG_USAGE
from prep.errors import PrepError, UsageError
from prep.parallel.interrupts import COMPLETED, GOES_ON, KEPT, Terminated, sigterm_raises
from prep.progress.report import write_stderr

_HOMES = {
    "adopt": ("adopt", "adopt"),
    "build-shards": ("build", "build_shards"),
    "diff": ("diff_merge", "diff"),
    "inspect": ("inspect", "inspect"),
    "merge": ("diff_merge", "merge"),
    "plan": ("build", "plan"),
    "recipe": ("recipe", "recipe"),
    "retry": ("retry", "retry"),
    "verify": ("verify", "verify"),
}
"""Name of a command -> the module that it is in, and its name there."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    with sigterm_raises():
        sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what goes wrong is one line on stderr, and JSON if that was asked for."""
    try:
        code = cli.main(list(arguments), prog_name="prep", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return _failed(arguments, f"{error.format_message()}{hint}", error.exit_code)
    except UsageError as error:
        return _failed(arguments, str(error), WRONG_USAGE)
    except (PrepError, ManifestError, OSError) as error:
        return _failed(arguments, f"{error}{_kept_by(error)}", DATA_PROBLEM)
    except (click.Abort, KeyboardInterrupt) as error:  # click makes an Abort of a KeyboardInterrupt
        return _failed(arguments, f"interrupted; {_left_by(error.__cause__ or error)}", INTERRUPTED)
    except Terminated as error:
        return _failed(arguments, f"terminated; {_left_by(error)}", TERMINATED)
    return code if isinstance(code, int) else DONE


def _left_by(interrupt: BaseException) -> str:
    """Say in what state an interrupt left the dataset."""
    if COMPLETED in getattr(interrupt, "__notes__", ()):
        return COMPLETED
    return f"what was there before is unchanged{_kept_by(interrupt)}"


def _kept_by(error: BaseException) -> str:
    """Say, behind what ended a build, that the next one can go on from where it was."""
    notes = getattr(error, "__notes__", ())
    kept = next((note for note in notes if note.endswith(KEPT)), "")
    # Who was interrupted knows how many items are kept of how many.
    return f"; {next((note for note in notes if note.startswith(GOES_ON)), kept)}" if kept else ""


def _failed(arguments: Sequence[str], message: str, code: int) -> int:
    write_stderr(terminal_text(f"error: {message}", keep="\n"))
    if "--json" in arguments:
        click.echo(json.dumps({"error": message, "exit_code": code}, ensure_ascii=True, indent=2))
    return code


class _Commands(MutableMapping[str, click.Command]):
    """Commands that are imported when they are asked for: what one of them needs costs the others no time."""

    def __init__(self) -> None:
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._found:
            module, attribute = _HOMES[name]
            self._found[name] = getattr(import_module(f"prep.cli.{module}"), attribute)
        return self._found[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**_HOMES, **self._found})

    def __len__(self) -> int:
        return len({**_HOMES, **self._found})


@click.group(
    commands=_Commands(), no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="shardfeed")
def cli() -> None:
    """Turn raw data into one .npy shard per ID and a CSV manifest of IDs and labels.

    \b
    Example:
      prep build-shards photos/ data/ --size 32x32 --split train=0.8,val=0.1,test=0.1
    """  # noqa: D301  # \b is click's mark for text that keeps its line breaks
