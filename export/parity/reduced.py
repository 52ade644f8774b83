"""The network as a bundle in fewer bits should compute it: with the weights that are stored, and activations rounded.

The truth of such a bundle is its network with the stored weights, in float64, with activations rounded as the precision
asks for where that is exact. How much rounding may explain is what the same rounding does in float32.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from diptych.export.parity.levels.reduced_weights import difference
from diptych.export.parity.stored import stored_weights
from diptych.export.precision.numbers import BLOCK, LARGEST
from diptych.model.activations import ACTIVATIONS
from diptych.model.feed_forward import FeedForward
from diptych.model.heads import TextHead
from diptych.model.linear import Linear
from diptych.model.networks import Network
from diptych.runtime.bundle import Bundle

_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)
# Steps of activations that cannot be negative, and bits of a float16's fraction with the one before it.
_UNSIGNED, _FRACTION = 255, 11
# Of a step, how far values are moved to see what it does if they are rounded to the next one.
_SHAKEN, _SEED = 0.05, 53
Round = Callable[[Tensor], Tensor]


class ReducedNetwork:
    """A copy of a network with a bundle's weights, but for those that rounding does not explain: they are rounded anew.

    truth, own, shaken: how its activations are rounded in each of these engines.
    """

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
            by_rows, known = name not in linear, parameter.detach().numpy()
            if difference(each, known, by_rows=by_rows):
                each = each.anew(known, by_rows=by_rows)
            parameter.data = torch.from_numpy(np.array(each.weight(by_rows=by_rows, width=width), order="C"))
            if each.precision in rounds:
                rounded = {"int8": _unsigned if name in unsigned else _signed, "int4": _blocks}[each.precision]
                rounds[each.precision][parameter.data.data_ptr()] = rounded
        self._exact, self._all = rounds["int8"], rounds["int8"] | rounds["int4"]
        self._half = bundle.manifest.precision.name == "fp16"

    def truth(self) -> TorchFunctionMode:
        return Products(self._exact)

    def own(self) -> TorchFunctionMode:
        return Halves() if self._half else Products(self._all)

    def shaken(self) -> TorchFunctionMode:
        """As own, but what lies near the border between two steps may come to lie on its other side."""
        return Halves() if self._half else Products(self._all, shaken=True)


class Products(TorchFunctionMode):
    """Within it the activations that some weights, known by where they lie, are multiplied with are rounded."""

    def __init__(self, rounds: Mapping[int, Round], *, shaken: bool = False) -> None:
        super().__init__()
        self._rounds = rounds
        self._random = torch.Generator().manual_seed(_SEED) if shaken else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS and args[1].ndim == 2 and (rounded := self._rounds.get(args[1].data_ptr())):
            return func(rounded(self._shaken(args[0])), args[1])
        return func(*args, **(kwargs or {}))

    def _shaken(self, hidden: Tensor) -> Tensor:
        if self._random is None:
            return hidden
        step = hidden.abs().amax(-1, keepdim=True) / LARGEST
        moved = hidden + (torch.rand(hidden.shape, generator=self._random) - 0.5) * 2 * _SHAKEN * step
        # Neither the largest nor what is 0 for good is moved.
        return torch.where((hidden == 0) | (hidden.abs() == step * LARGEST), hidden, moved)


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
    return _signed(padded.reshape(*hidden.shape[:-1], -1, BLOCK)).flatten(-2)[..., :width]


def _after_relu(network: nn.Module) -> Iterator[str]:
    """Weights that are multiplied with what no longer can be negative."""
    for name, module in network.named_modules():
        if isinstance(module, FeedForward) and module.gate is None and module.activation is ACTIVATIONS["relu"]:
            yield f"{name}.down.weight"
        if isinstance(module, TextHead) and module.activation is ACTIVATIONS["relu"]:
            yield f"{name}.output.weight"
