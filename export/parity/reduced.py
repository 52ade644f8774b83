"""The network as a bundle in fewer bits should compute it: with the weights that are stored, and activations rounded.

The truth of such a bundle is its network with the stored weights, in float64, with activations rounded as the precision
asks for where that is exact. How much rounding may explain is what the same rounding does in float32.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from diptych.export.precision.numbers import BLOCK, LARGEST, Reduced, from_int4, from_int8
from diptych.model.activations import ACTIVATIONS
from diptych.model.feed_forward import FeedForward
from diptych.model.heads import TextHead
from diptych.model.linear import Linear
from diptych.model.networks import Network
from diptych.runtime.bundle import Bundle
from diptych.runtime.graph import Array

_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)
# Steps of activations that cannot be negative, and bits of a float16's fraction with the one before it.
_UNSIGNED, _FRACTION = 255, 11
Round = Callable[[Tensor], Tensor]


class Stored:
    """A weight as a bundle stores it, in int8, int4 (two in a byte) or fp16; scale: of the former."""

    def __init__(self, numbers: Array, scale: Array | None) -> None:
        self.numbers, self.scale = numbers, scale
        self.precision = {"int8": "int8", "uint8": "int4"}.get(numbers.dtype.name, "fp16")

    def weight(self, *, by_rows: bool, width: int) -> Array:
        """float32; by_rows: [out, in] as of a table or head, else [in, out]; width: `in`."""
        if self.scale is None:
            return self.numbers.astype(np.float32)
        if self.precision == "int8":
            return from_int8(Reduced(self.numbers, self.scale))
        found = from_int4(Reduced(self.numbers.reshape(*self.scale.shape, BLOCK // 2), self.scale), width)
        return found if by_rows else np.ascontiguousarray(found.T)


def stored_weights(bundle: Bundle) -> dict[str, Stored]:
    """By the names that the network gives them: those that are not float32."""
    found = {}
    for graph in bundle.graphs:
        initializers = ir.load(bundle.folder / graph).graph.initializers
        for name, value in initializers.items():
            tensor = value.const_value
            scale = initializers.get(f"{name}.scale")
            if tensor is not None and (scale is not None or tensor.dtype == ir.DataType.FLOAT16):
                numbers = None if scale is None or scale.const_value is None else scale.const_value.numpy()
                found[name] = Stored(tensor.numpy(), numbers)
    return found


class ReducedNetwork:
    """A copy of a network with a bundle's weights. truth, own: how its activations are rounded in either."""

    def __init__(self, network: Network, bundle: Bundle) -> None:
        self.network = copy.deepcopy(network)
        stored = stored_weights(bundle)
        parameters: dict[str, Tensor] = dict(self.network.named_parameters(remove_duplicate=False))
        parameters |= dict(self.network.named_buffers(remove_duplicate=False))
        linear = {f"{name}.weight" for name, module in self.network.named_modules() if isinstance(module, Linear)}
        rounds: dict[str, dict[int, Round]] = {"int8": {}, "int4": {}}
        unsigned = set(_after_relu(self.network))
        for name in stored.keys() & parameters.keys():
            parameter, each = parameters[name], stored[name]
            width = parameter.shape[0 if name in linear else 1] if parameter.ndim == 2 else 0
            found = each.weight(by_rows=name not in linear, width=width)
            if found.shape == parameter.shape:
                parameter.data = torch.from_numpy(found)
            if each.precision in rounds:
                rounded = {"int8": _unsigned if name in unsigned else _signed, "int4": _blocks}[each.precision]
                rounds[each.precision][parameter.data.data_ptr()] = rounded
        self._exact, self._all = rounds["int8"], rounds["int8"] | rounds["int4"]
        self._half = bundle.manifest.precision.name == "fp16"

    def truth(self) -> TorchFunctionMode:
        return Products(self._exact)

    def own(self) -> TorchFunctionMode:
        return Halves() if self._half else Products(self._all)


class Products(TorchFunctionMode):
    """Within it the activations that some weights, known by where they lie, are multiplied with are rounded."""

    def __init__(self, rounds: Mapping[int, Round]) -> None:
        super().__init__()
        self._rounds = rounds

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS and args[1].ndim == 2 and (rounded := self._rounds.get(args[1].data_ptr())):
            return func(rounded(args[0]), args[1])
        return func(*args, **(kwargs or {}))


class Halves(TorchFunctionMode):
    """Within it the result of every operation is rounded to float16's 11 bits, though nothing is too large for it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        return found if getattr(func, "__name__", "") == "__get__" else pytree.tree_map(_half, found)


def _half(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return value
    fraction, exponent = torch.frexp(value)
    rounded = torch.ldexp(torch.round(fraction * 2**_FRACTION) / 2**_FRACTION, exponent)
    return torch.where(value.abs() < torch.finfo(torch.float32).max / 2, rounded, value)


def _signed(hidden: Tensor) -> Tensor:
    """Each row by itself to 127 steps on either side of 0."""
    largest = hidden.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.round(hidden / largest / (1 / LARGEST)) * (1 / LARGEST) * largest


def _unsigned(hidden: Tensor) -> Tensor:
    """To 255 steps above 0."""
    largest = hidden.amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.round(hidden / largest / (1 / _UNSIGNED)) * (1 / _UNSIGNED) * largest


def _blocks(hidden: Tensor) -> Tensor:
    """Each block of a row by itself."""
    width = hidden.shape[-1]
    padded = F.pad(hidden, (0, -width % BLOCK))
    return _signed(padded.unflatten(-1, (-1, BLOCK))).flatten(-2)[..., :width]


def _after_relu(network: nn.Module) -> Iterator[str]:
    """Weights that are multiplied with what no longer can be negative."""
    for name, module in network.named_modules():
        if isinstance(module, FeedForward) and module.gate is None and module.activation is ACTIVATIONS["relu"]:
            yield f"{name}.down.weight"
        if isinstance(module, TextHead) and module.activation is ACTIVATIONS["relu"]:
            yield f"{name}.output.weight"
