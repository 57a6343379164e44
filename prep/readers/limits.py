"""What is refused before it takes memory."""

from __future__ import annotations

MAX_PIXELS = 178_956_970
"""Of an image that is read, and of one that is asked for: the size at which Pillow suspects a decompression bomb."""

MAX_MEMBER_BYTES = 1 << 33
"""Of an array that a member of an `.npz` file claims to unpack to: 8 GiB."""

MAX_SAMPLES = 100_000
"""Of the samples that one raw item may become."""

MAX_RECIPE_BYTES = 1 << 20
"""Of a recipe's file: what people write has some hundred."""
