"""How a fault gets into a bundle: its graphs are edited, or traced again from a faulty network, and written anew."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from diptych.export.graphs import graphs
from diptych.export.parity.bisection.scopes import Scopes
from diptych.export.trace import SCOPES, trace
from diptych.export.weights_file import write_models
from diptych.model import load_checkpoint
from diptych.model.networks import Network
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest

Change = Callable[[Array], Array]
# Of the results of operators where it is not their first input's.
TYPES = {"Shape": ir.DataType.INT64, "Greater": ir.DataType.BOOL, "Where": ir.DataType.FLOAT}
REWRITTEN = (ports.WEIGHTS_FILE, ports.MANIFEST_FILE, ports.VERIFICATION_FILE)


class Editor:
    """A graph in which a fault is to be planted."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.scopes = Scopes(graph)
        self.nodes = list(graph)

    def find(self, kind: str, module: str, place: int = 0) -> ir.Node:
        """One of a module's own nodes."""
        return self.all(kind, module)[place]

    def all(self, kind: str, module: str) -> list[ir.Node]:
        """Those of a module's own nodes that have this operator."""
        return [n for at, n in enumerate(self.nodes) if self.scopes.module_at(at) == module and n.op_type == kind]

    def value(self, name: str) -> ir.Value:
        """An input of the graph, or what some node makes."""
        made = [value for node in self.nodes for value in node.outputs]
        return next(value for value in [*self.graph.inputs, *made] if value.name == name)

    def constant(self, value: Any, like: ir.Value | None = None) -> ir.Value:
        """A new one; fractions are float32."""
        array = np.asarray(value)
        array = np.array(array, np.float32 if array.dtype.kind == "f" else array.dtype, order="C")
        name = f"{'constant' if like is None else like.name} {len(self.graph.initializers)}"
        made = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        made.dtype, made.shape = ir.DataType.from_numpy(array.dtype), ir.Shape(array.shape)
        self.graph.register_initializer(made)
        return made

    def set_input(self, node: ir.Node, place: int, change: Change) -> None:
        """Give this node alone another constant."""
        value = node.inputs[place]
        assert value is not None
        assert value.const_value is not None
        node.replace_input_with(place, self.constant(change(value.const_value.numpy()), value))

    def skip(self, node: ir.Node, place: int = 0) -> None:
        """What uses a node's result gets one of its inputs."""
        value = node.inputs[place]
        assert value is not None
        node.outputs[0].replace_all_uses_with(value)

    def before(self, node: ir.Node, place: int, kind: str, *others: Any, **attributes: Any) -> ir.Node:
        """A new node between a node and one of its inputs; others: its further inputs, values or constants."""
        value = node.inputs[place]
        assert value is not None
        made = self.add(node, kind, value, *others, **attributes)
        node.replace_input_with(place, made.outputs[0])
        return made

    def add(self, user: ir.Node, kind: str, *inputs: Any, **attributes: Any) -> ir.Node:
        """A new node of the same module, before `user`, which does not use it yet."""
        values = [each if isinstance(each, ir.Value) else self.constant(each) for each in inputs]
        made = ir.node(kind, values, attributes=attributes)
        made.metadata_props[SCOPES] = user.metadata_props[SCOPES]
        made.outputs[0].dtype = TYPES.get(kind, values[0].dtype)
        self.graph.insert_before(user, made)
        return made

    def set_shape(self, node: ir.Node, shape: list[int]) -> None:
        """A fixed one for a Reshape."""
        node.replace_input_with(1, self.constant(shape))

    def set_attribute(self, node: ir.Node, name: str, value: Any) -> None:
        node.attributes[name] = ir.convenience.convert_attribute(name, value)

    def after(self, value: ir.Value, kind: str) -> None:
        """A new node of the same module; what used a value, as the graph itself may have, gets its result."""
        made = ir.node(kind, [])
        maker, name = value.producer(), value.name
        assert maker is not None
        ir.convenience.replace_all_uses_with(value, made.outputs[0], replace_graph_outputs=True)
        made.resize_inputs(1)
        made.replace_input_with(0, value)
        made.metadata_props[SCOPES] = maker.metadata_props[SCOPES]
        made.outputs[0].dtype, made.outputs[0].shape = value.dtype, value.shape
        self.graph.insert_after(maker, made)
        value.name = f"{name} before"
        made.outputs[0].name = name

    def swap(self, one: tuple[ir.Node, int], other: tuple[ir.Node, int]) -> None:
        """Inputs of two nodes, or of one."""
        first, second = one[0].inputs[one[1]], other[0].inputs[other[1]]
        one[0].replace_input_with(one[1], second)
        other[0].replace_input_with(other[1], first)

    def swap_names(self, one: str, other: str) -> None:
        """Of two outputs of the graph."""
        first, second = self.value(one), self.value(other)
        first.name = "neither"
        second.name, first.name = one, other


@dataclass
class Healthy:
    """A checkpoint, and the bundle that it became."""

    checkpoint: Path
    bundle: Path


@dataclass
class Planting:
    """A healthy bundle while faults are planted in it: its graphs, by file, its manifest, and other files' texts."""

    healthy: Healthy
    models: dict[str, ir.Model] = field(init=False)
    manifest: Manifest = field(init=False)
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        opened = Bundle.open(self.healthy.bundle)
        self.models = {name: ir.load(opened.folder / name) for name in opened.graphs}
        self.manifest = opened.manifest

    def editor(self, file: str) -> Editor:
        return Editor(self.models[file].graph)

    def change_weight(self, name: str, change: Change) -> None:
        """In every graph that has it."""
        found = [model.graph.initializers[name] for model in self.models.values() if name in model.graph.initializers]
        assert found, name
        for value in found:
            assert value.const_value is not None
            changed = np.ascontiguousarray(change(value.const_value.numpy()))
            assert not np.array_equal(changed, value.const_value.numpy())
            value.const_value = ir.tensor(changed, name=name)

    def change_file(self, name: str, change: Callable[[str], str]) -> None:
        self.texts[name] = change((self.healthy.bundle / name).read_text(encoding="utf-8"))

    def network(self) -> Network:
        """A fresh one, to be traced again once it is spoilt."""
        return load_checkpoint(self.healthy.checkpoint, self.manifest.task).network

    def trace(self, file: str, network: Network) -> None:
        (spec,) = (spec for spec in graphs(network, self.manifest.task) if spec.file == file)
        self.models[file] = trace(spec)

    def write(self, folder: Path) -> Path:
        """A bundle whose digests are all true."""
        folder.mkdir()
        for path in self.healthy.bundle.iterdir():
            if path.name not in REWRITTEN:
                shutil.copyfile(path, folder / path.name)
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for model in self.models.values():
            RemoveUnusedNodesPass()(model)
            forget_shapes(model.graph)
        tensors = write_models(list(self.models.items()), folder)
        files = {name: file_digest(folder / name) for name in self.manifest.files}
        replace(self.manifest, files=files, tensors=tensors).write(folder)
        return folder


def forget_shapes(graph: ir.Graph) -> None:
    """Those that were inferred before the fault; ONNX Runtime would not load what contradicts them."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
