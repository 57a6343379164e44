"""The options of a build and its recipe, which decides every shard's bytes; reading and writing `recipe.toml`."""
