"""The public names of `prep`, `manifests` and `loader` under one name: `shardfeed.build_shards`, `shardfeed.load_manifest`.

Each name is imported when it is first used. It is for projects that have a `prep.py`, `manifests.py` or `loader.py` of their own: Python
imports that file in place of ours, and `shardfeed` then names it in its error. What does not need the hidden package goes on working.

A name that two of the packages have, `WorkerError`, stays with them: `prep.WorkerError`, `loader.WorkerError`.
"""

from shardfeed.reexport import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
