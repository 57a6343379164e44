"""Nested tuples, lists and dicts with arrays in them, as Keras takes them for several inputs or outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tree = Any
"""An array, None, or a tuple, list or dict of trees."""


def leaves(tree: Tree) -> list[Any]:
    """Return the arrays of a tree, in the order in which they stand; None is none."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in leaves(part)]
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the same form with the function's value in place of each array.

    Tuples of a class of their own become plain ones.
    """
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: mapped(function, part) for name, part in tree.items()}
    if isinstance(tree, list):
        return [mapped(function, part) for part in tree]
    if isinstance(tree, tuple):
        return tuple(mapped(function, part) for part in tree)
    return function(tree)


def form(tree: Tree) -> Tree:
    """Return a tree of the same form with each array's number, from 0, in its place."""
    numbers = iter(range(len(leaves(tree))))
    return mapped(lambda _: next(numbers), tree)


def filled(form_: Tree, arrays: Sequence[Any]) -> Tree:
    """Return the tree of a form with arrays in place of their numbers."""
    return mapped(arrays.__getitem__, form_)
