"""A model whose step takes a known time and next to no processor: what a step on an accelerator is to the machine that feeds it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Sleep(keras.layers.Layer):
    """Passes its input on after a while.

    It sleeps within TensorFlow, so that a step holds neither a core nor the interpreter: Python's own sleep, called from a graph, would
    have to win the interpreter's lock back from the feed in each step. And it begins when the step's batch is there: a step
    that slept while it waits for its data would hide the waiting.
    """

    supports_jit = False  # XLA knows no sleep

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.microseconds = round(seconds * 1e6 / 2)  # it sleeps twice: before the element, and before it says that there is no other

    def call(self, inputs: Any) -> Any:
        with tf.control_dependencies([inputs]):
            one = tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(0))
            late = tf.raw_ops.SleepDataset(
                input_dataset=one, sleep_microseconds=self.microseconds, output_types=[tf.int32], output_shapes=[()]
            )
            slept = tf.data.experimental.from_variant(late, tf.TensorSpec((), tf.int32)).get_single_element()
        with tf.control_dependencies([slept]):
            return tf.identity(inputs)
