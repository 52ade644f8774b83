"""Before anything runs: are the weights that the bundle stores those of the network, number by number?"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx_ir as ir
from torch import nn

from diptych.export.parity.levels.reduced_weights import difference
from diptych.export.parity.report import WeightsReport
from diptych.export.parity.stored import stored_weights
from diptych.model.linear import Linear
from diptych.runtime.bundle import Bundle
from diptych.runtime.graph import Array


def compare_with_network(bundle: Bundle, network: nn.Module) -> WeightsReport:
    """Tensors that the graphs call as the network does must be equal; what the exporter computed has other names.

    Those in fewer bits must be as near as these allow, and those that the manifest says are kept in more must be.
    """
    known = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    linear = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, Linear)}
    reduced = stored_weights(bundle)
    plain = [each for each in _stored(bundle) if each[1].removesuffix(".scale").removesuffix(".rows") not in reduced]
    found = _compare(plain, lambda graph, name: known[name].detach().numpy() if name in known else None)
    differing, precision = dict(found.differing), bundle.manifest.precision
    for name, stored in reduced.items():
        expected = precision.kept.get(module_of(name), precision.name)
        if expected == "fp32":
            differing[name] = f"in {stored.precision}, expected {expected}, as the manifest says"
        elif name in known:
            wrong = difference(stored, known[name].detach().numpy(), by_rows=name not in linear)
            differing |= {name: wrong} if wrong else {}
    checked = len(reduced.keys() & known.keys())
    return WeightsReport(found.tensors + len(reduced), found.compared + checked, differing)


def compare_with_bundle(bundle: Bundle, other: Bundle) -> WeightsReport:
    """Tensors of one name in the same graph must be equal in both."""
    known = {(graph, name): tensor for graph, name, tensor in _stored(other)}
    return _compare(_stored(bundle), lambda graph, name: known[graph, name].numpy() if (graph, name) in known else None)


def module_of(tensor: str) -> str:
    """`decoder.layers.0.self_attention.query.weight` -> the module that has it."""
    return tensor.rpartition(".")[0]


def _compare(
    stored: Iterable[tuple[str, str, ir.TensorProtocol]], known: Callable[[str, str], Array | None]
) -> WeightsReport:
    tensors, compared, differing = set(), set(), {}
    for graph, name, tensor in stored:
        tensors.add((graph, name))
        expected = known(graph, name)
        if expected is not None:
            compared.add((graph, name))
            difference = _difference(tensor.numpy(), expected)
            if difference:
                differing[name] = difference
    return WeightsReport(len(tensors), len(compared), differing)


def _stored(bundle: Bundle) -> Iterator[tuple[str, str, ir.TensorProtocol]]:
    """Graph, name, and tensor; large ones stay in their file until they are looked at."""
    for graph in bundle.graphs:
        for value in ir.load(bundle.folder / graph).graph.initializers.values():
            if value.const_value is not None:
                yield graph, str(value.name), value.const_value


def _difference(stored: Array, known: Array) -> str | None:
    """What is wrong with a tensor, in words."""
    if stored.shape != known.shape:
        return f"shape {list(stored.shape)}, expected {list(known.shape)}"
    wrong = np.count_nonzero((stored != known) & ~(np.isnan(stored) & np.isnan(known)))
    if not wrong:
        return None
    return f"{wrong:,} of {known.size:,} numbers differ, by {np.abs(stored - known).max():.1e} at most"
