"""The output folder: whether it can be written, its lock, and the stage `.prep/build-<random>` in which the new state is laid out."""
