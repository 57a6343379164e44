"""Transforms of a recipe, one file each: resize, crop, pad, gray, scale, cast, transpose, tile, and functions of the user's."""
