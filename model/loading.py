"""Fill a network with tensors, totally: what is missing, unused or misshapen is listed in one error."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from diptych.model.errors import CheckpointError
from diptych.model.rules import Tensors, same


def load_tensors(network: nn.Module, tensors: Tensors, problems: list[str], source: str) -> None:
    """Copy `tensors`, under our names, into the parameters of `network`, in float32.

    A tied parameter has several names: any of them will do, and where several are there they must agree. `problems`
    are those already found; raises CheckpointError with all of them if there is any.
    """
    problems = list(problems)
    unused = dict(tensors)
    for names, parameter in _parameters_with_all_their_names(network):
        found = {name: unused.pop(name) for name in names if name in unused}
        if not found:
            problems.append(f"missing: {' or '.join(names)} {list(parameter.shape)}")
            continue
        (first, value), *others = found.items()
        problem = _mismatch(first, value, parameter)
        if problem:
            problems.append(problem)
            continue
        problems += [f"{name} differs from {first}, which it should share" for name, t in others if not same(t, value)]
        with torch.no_grad():
            parameter.copy_(value)
    problems += [f"not used: {name} {list(value.shape)}" for name, value in unused.items()]
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise CheckpointError(f"{source}: the tensors do not fit the configuration\n{listing}")


def _parameters_with_all_their_names(network: nn.Module) -> list[tuple[list[str], nn.Parameter]]:
    names: dict[int, list[str]] = defaultdict(list)
    parameters: dict[int, nn.Parameter] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
        parameters[id(parameter)] = parameter
    return [(names[key], parameters[key]) for key in parameters]


def _mismatch(name: str, value: Tensor, parameter: Tensor) -> str | None:
    if value.shape != parameter.shape:
        return f"misshapen: {name} is {list(value.shape)}, expected {list(parameter.shape)}"
    if not value.is_floating_point():
        return f"not floating point: {name} is {value.dtype}; quantised weights are not supported"
    return None
