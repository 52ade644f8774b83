"""Graphs of a few operators, written without the `onnx` package."""

from pathlib import Path

import numpy as np

from diptych.runtime.onnx_bytes import Node, Value, model

FLOAT = np.dtype(np.float32)


def determinant(path: Path) -> Path:
    """Four operators, of which OpenVINO has no Det."""
    nodes = [
        Node("Exp", ["x"], ["a"], {}),
        Node("Tanh", ["a"], ["b"], {}),
        Node("MatMul", ["b", "a"], ["c"], {}),
        Node("Det", ["c"], ["y"], {}),
    ]
    path.write_bytes(model(nodes, [Value("x", FLOAT, 2)], [Value("y", FLOAT, 0)]))
    return path
