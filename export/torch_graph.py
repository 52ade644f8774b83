"""The PyTorch network behind the ports of its graph: the other side of every parity check."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from diptych.export.float64 import Float64
from diptych.export.graph_spec import GraphSpec
from diptych.runtime.graph import Array, Arrays, Shape

Context = Callable[[], AbstractContextManager[Any]]


class TorchGraph:
    """Runs a `GraphSpec` in PyTorch, in float32 or, if it is to be precise, in float64; arrays by port name.

    rounding: a further context in which it runs.
    """

    def __init__(self, spec: GraphSpec, *, precise: bool = False, rounding: Context = nullcontext) -> None:
        self.module = spec.module
        self._precision: Context = Float64 if precise else nullcontext
        self._rounding = rounding
        flat, self._structure = pytree.tree_flatten(spec.arguments)
        self.inputs = {
            port.name: _shape(port.axes, example.shape) for port, example in zip(spec.inputs, flat, strict=True)
        }
        self.dtypes = {name: tensor.numpy().dtype for name, tensor in zip(self.inputs, flat, strict=True)}
        with torch.inference_mode():
            outputs = pytree.tree_leaves(spec.module(*spec.arguments))
        self.outputs = {
            port.name: _shape(port.axes, example.shape) for port, example in zip(spec.outputs, outputs, strict=True)
        }

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        tensors = [torch.from_numpy(np.asarray(feeds[name], order="C")) for name in self.inputs]
        arguments = pytree.tree_unflatten(tensors, self._structure)
        with torch.inference_mode(), self._precision(), self._rounding():
            results = pytree.tree_leaves(self.module(*arguments))
        named = zip(self.outputs, results, strict=True)
        return {name: tensor.numpy() for name, tensor in named if outputs is None or name in outputs}


def _shape(axes: tuple[str | None, ...], example: torch.Size) -> Shape:
    return tuple(size if axis is None else axis for axis, size in zip(axes, example, strict=True))
