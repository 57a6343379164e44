"""What is noted of an item that failed."""

from __future__ import annotations

from prep.errors import ItemError
from prep.sources.items import Item
from prep.sources.listing import failure_of


def test_a_failure_reads_alike_in_each_build() -> None:
    messages = {failure_of(Item(id="a", source="a.png"), "transform", ItemError(f"cannot use {object()}")).error for _ in range(2)}
    assert messages == {"cannot use <object object>"}
