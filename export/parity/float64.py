"""A network in float64 without a second copy of it: tensors are widened one operation at a time."""

from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

# Reading an attribute computes nothing: `weight.shape` must not widen a matrix.
_ATTRIBUTE = "__get__"


class Float64(TorchFunctionMode):
    """Within it every operation computes in float64, whatever the dtype of the parameters.

    An operation's float32 arguments are widened for that operation only, so the memory on top of the float32 network
    is one layer's matrix, not the network. Rows looked up in a table are widened, not the table.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == _ATTRIBUTE:
            return func(*args, **kwargs)
        if func is F.embedding:
            return _widen(func(*args, **kwargs))
        args, kwargs = pytree.tree_map(_widen, (args, kwargs))
        return func(*args, **kwargs)


def _widen(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value
