"""Before anything runs: are the weights that the bundle stores those of the network, number by number?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from torch import nn

from diptych.export.parity.report import WeightsReport
from diptych.runtime.bundle import Bundle
from diptych.runtime.graph import Array


def compare_with_network(bundle: Bundle, network: nn.Module) -> WeightsReport:
    """Tensors that the graphs call as the network does must be equal; what the exporter computed has other names."""
    known = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    return _compare(bundle, {name: tensor.detach().numpy() for name, tensor in known.items()})


def compare_with_bundle(bundle: Bundle, other: Bundle) -> WeightsReport:
    """Tensors of one name must be equal in both."""
    return _compare(bundle, {name: tensor.numpy() for name, tensor in _stored(other.folder, other.graphs)})


def module_of(tensor: str) -> str:
    """`decoder.layers.0.self_attention.query.weight` -> the module that has it."""
    return tensor.rpartition(".")[0]


def _compare(bundle: Bundle, known: Mapping[str, Array]) -> WeightsReport:
    tensors, compared, differing = set(), set(), {}
    for name, tensor in _stored(bundle.folder, bundle.graphs):
        tensors.add(name)
        if name in known:
            compared.add(name)
            difference = _difference(tensor.numpy(), known[name])
            if difference:
                differing[name] = difference
    return WeightsReport(len(tensors), len(compared), differing)


def _stored(folder: Path, graphs: list[str]) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Large tensors stay in their file until they are looked at."""
    for name in graphs:
        for value in ir.load(folder / name).graph.initializers.values():
            if value.const_value is not None:
                yield str(value.name), value.const_value


def _difference(stored: Array, known: Array) -> str | None:
    """What is wrong with a tensor, in words."""
    if stored.shape != known.shape:
        return f"shape {list(stored.shape)}, expected {list(known.shape)}"
    wrong = np.count_nonzero(stored != known)
    if not wrong:
        return None
    return f"{wrong:,} of {known.size:,} numbers differ, by {np.abs(stored - known).max():.1e} at most"
