"""From a module to an ONNX model: trace with symbolic axes, convert, tidy, and check every axis."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import optimizer
from torch.export import Dim
from torch.utils import _pytree as pytree

from diptych.export.errors import ExportError
from diptych.export.graph_spec import GraphSpec
from diptych.runtime import ports

SCOPES = "pkg.torch.onnx.name_scopes"
# The optimizer may compute shapes beforehand; weights stay what they are called.
_FOLDED_ELEMENTS = 16
# Outputs with an axis whose length is a value, and what it is called.
_COUNTED = {ports.LOGITS: ports.NUM_LOGITS, ports.TOP_LOGITS: ports.NUM_TOP_LOGITS}


def trace(spec: GraphSpec) -> ir.Model:
    """Export one graph. Raises ExportError if an axis that should vary was fixed, or the other way round."""
    with _quietly():
        try:
            program = torch.export.export(
                spec.module, spec.arguments, dynamic_shapes=_dynamic(spec, _dim), strict=False
            )
        except RuntimeError as error:
            raise ExportError(f"{spec.file}: torch.export cannot trace the network: {error}") from error
        exported = torch.onnx.export(
            program,
            dynamic_shapes=_dynamic(spec, str),
            input_names=[port.name for port in spec.inputs],
            output_names=[port.name for port in spec.outputs],
            opset_version=spec.opset,
            optimize=False,
            verbose=False,
        )
        assert exported is not None
        model = exported.model
        _name_counts(model, spec)
        optimizer.optimize_ir(model, input_size_limit=_FOLDED_ELEMENTS, output_size_limit=_FOLDED_ELEMENTS)
    _tidy(model, spec.file)
    _make_optional(model.graph, ports.NUM_LOGITS_TO_KEEP)
    _check_axes(model.graph.inputs, spec.inputs, spec.file)
    _check_axes(model.graph.outputs, spec.outputs, spec.file)
    return model


def _dim(axis: str) -> Any:
    """A sum of two axes is left for torch to derive."""
    return Dim.DYNAMIC if " + " in axis else Dim(axis)


def _dynamic(spec: GraphSpec, name: Callable[[str], Any]) -> Any:
    """The axes of the ports, in the structure of the arguments."""
    axes = [{place: name(axis) for place, axis in enumerate(port.axes) if axis is not None} for port in spec.inputs]
    _, structure = pytree.tree_flatten(spec.arguments)
    return pytree.tree_unflatten(axes, structure)


def _name_counts(model: ir.Model, spec: GraphSpec) -> None:
    """Axes whose length is the value of an input, for which torch makes up names, get that input's, or one like it.

    As an output, the axis of logits is that of the new tokens, as many as there are by default: other runtimes compute
    with the names of axes, and know no other.
    """
    for value, port in zip(model.graph.outputs, spec.outputs, strict=True):
        if port.name not in _COUNTED or value.shape is None:
            continue
        counted = _COUNTED[port.name]
        names = [str(axis.value) for axis in value.shape if isinstance(axis, ir.SymbolicDim)]
        renames = {name: counted for name in names if re.fullmatch(r"u\d+", name)}
        for node in model.graph.all_nodes():
            for output in node.outputs:
                output.shape = _renamed(output.shape, renames)
        if port.name == ports.LOGITS:
            value.shape = _renamed(value.shape, {counted: port.axes[1]})


def _renamed(shape: ir.Shape | None, names: Mapping[Any, Any]) -> ir.Shape | None:
    if shape is None:
        return None
    axes = [axis.value if isinstance(axis, ir.SymbolicDim) else axis for axis in shape]
    return ir.Shape([names.get(axis, axis) for axis in axes])


def _make_optional(graph: ir.Graph, name: str) -> None:
    """An input that is an initializer too has that as its default; here 0."""
    for value in graph.inputs:
        if value.name == name:
            value.const_value = ir.tensor(np.array(0, dtype=np.int64), name=name)
            graph.register_initializer(value)


def _tidy(model: ir.Model, file: str) -> None:
    """Keep what a user or bisection needs; drop stack traces and whatever else depends on where this ran."""
    model.producer_name, model.producer_version = "diptych", metadata.version("diptych")
    model.doc_string = None
    model.metadata_props.clear()
    graph = model.graph
    graph.name, graph.doc_string = file.removesuffix(".onnx"), None
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        scopes = node.metadata_props.get(SCOPES)
        node.metadata_props.clear()
        node.doc_string = None
        if scopes is not None:
            node.metadata_props[SCOPES] = scopes
    for value in [*graph.inputs, *graph.outputs, *graph.initializers.values()]:
        value.metadata_props.clear()
        value.doc_string = None
    for node in graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()


def _check_axes(values: Sequence[ir.Value], expected: Sequence[ports.Port], file: str) -> None:
    if [value.name for value in values] != [port.name for port in expected]:
        raise ExportError(f"{file}: ports {[value.name for value in values]}, expected {[p.name for p in expected]}")
    for value, port in zip(values, expected, strict=True):
        shape = list(value.shape or ())
        axes = [dim.value if isinstance(dim, ir.SymbolicDim) else None for dim in shape]
        if tuple(axes) != port.axes:
            raise ExportError(
                f"{file}: {port.name} has the shape {shape}, expected the axes {list(port.axes)} (None = fixed); "
                "the network computes with a size instead of an axis"
            )


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter warns of optional packages it does not need here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
