"""A network in float64 without a second copy of it: tensors are widened one operation at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

# Reading an attribute computes nothing: `weight.shape` must not widen a matrix. Nor does asking where it lies.
_ATTRIBUTES = ("__get__", "data_ptr")
_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)
# Numbers of a matrix that are wide at once.
_WIDE = 1 << 22


class Float64(TorchFunctionMode):
    """Within it every operation computes in float64, whatever the dtype of the parameters.

    An operation's float32 arguments are widened for that operation only, of a large matrix some columns at a time, so
    that little memory comes on top of the float32 network's. Rows looked up in a table are widened, not the table.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _ATTRIBUTES:
            return func(*args, **kwargs)
        if func is F.embedding:
            return _widened(func(*args, **kwargs))
        if func in _PRODUCTS and args[1].ndim == 2 and args[1].dtype == torch.float32:
            return _product(*args)
        args, kwargs = pytree.tree_map(_widened, (args, kwargs))
        return func(*args, **kwargs)


def _product(left: Tensor, matrix: Tensor) -> Tensor:
    """left [..., n] @ matrix [n, m]"""
    columns = max(1, _WIDE // matrix.shape[0])
    wide = left.double()
    return torch.cat([wide @ some.double() for some in torch.split(matrix, columns, dim=1)], dim=-1)


def _widened(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value
