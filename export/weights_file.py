"""`weights.data`: one file for both graphs, each tensor once."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from diptych.runtime import ports
from diptych.runtime.manifest import TensorEntry

# Smaller tensors stay in the graphs; 4 KiB starts let ONNX Runtime map the file instead of reading it.
SMALLEST = 1024
ALIGNMENT = 4096
# Not worth a mapping, nor the padding, below this.
_MAPPED, _CACHE_LINE = 1 << 16, 64


def write_models(models: Sequence[tuple[str, ir.Model]], folder: Path) -> dict[str, TensorEntry]:
    """Write `models`, (file name, model), into `folder` with their large tensors outside; returns the tensors by name.

    Tensors of the same bytes and type are stored once, under the name that comes first.
    """
    entries: dict[str, TensorEntry] = {}
    stored: dict[tuple[str, str], TensorEntry] = {}
    tensors = [
        (value, value.const_value)
        for _, model in models
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.nbytes >= SMALLEST
    ]
    # Biases and norms, which are read in every run, lie together: systems map up to 2 MB round each page that is read.
    tensors.sort(key=lambda each: each[1].nbytes >= _MAPPED)
    with (folder / ports.WEIGHTS_FILE).open("wb") as file:
        for value, tensor in tensors:
            data = np.ascontiguousarray(tensor.numpy()).tobytes()
            shape = tuple(tensor.shape.numpy())
            key = (hashlib.sha256(data).hexdigest(), tensor.dtype.name)
            if key not in stored:
                file.write(bytes(-file.tell() % (ALIGNMENT if len(data) >= _MAPPED else _CACHE_LINE)))
                stored[key] = TensorEntry(tensor.dtype.name, shape, file.tell(), len(data), key[0])
                entries[str(value.name)] = stored[key]
                file.write(data)
            value.const_value = _external(replace(stored[key], shape=shape), str(value.name), folder)
    for name, model in models:
        ir.save(model, folder / name)
    return entries


def _external(entry: TensorEntry, name: str, folder: Path) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        location=ports.WEIGHTS_FILE,
        offset=entry.offset,
        length=entry.length,
        dtype=ir.DataType[entry.dtype],
        shape=ir.Shape(entry.shape),
        name=name,
        base_dir=folder,
    )
