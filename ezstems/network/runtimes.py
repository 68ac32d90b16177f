"""The two libraries that can run a network, imported only when one is needed, and the way they must be."""

import os
import sys
from typing import Any

PYTHON = f"Python {sys.version_info[0]}.{sys.version_info[1]}"  # TensorFlow isn't made for every one


def tensorflow() -> Any:
    """Import TensorFlow with the Keras that Spleeter was written for; raise ModuleNotFoundError."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    import tf_keras  # noqa: F401  # which it would look for only later

    tf.get_logger().setLevel("ERROR")
    return tf


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which would tell its makers of every import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it weren't installed
    import openvino

    return openvino
