"""The engines of a comparison: the graphs under test, the truth, and what rounding alone does to the truth."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from diptych.export.graph_spec import GraphSpec
from diptych.export.parity.as_portable import AsPortable, is_tuned
from diptych.export.parity.reduced import ReducedNetwork
from diptych.export.torch_graph import TorchGraph
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, BundleDecoder
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.graph import Array, Arrays, Graph
from diptych.runtime.grouped import GroupedDecoder
from diptych.runtime.in_place import InPlaceDecoder
from diptych.runtime.providers import SessionSettings

# By file: encoder.onnx and decoder.onnx, or model.onnx.
Engines = Mapping[str, Graph]


@dataclass(frozen=True)
class Sides:
    """subject: the graphs under test. truth: what they should compute. own: the same computed with rounding.

    decoding: that of the latter two which decodes, when searches are compared. shaken: as own, but where activations
    are rounded to steps, some to the next one; then what is usual is told from what is possible. unrounded: as own,
    without what only some machines round. precise: as own, in float64.
    """

    subject: Engines
    truth: Engines
    own: Engines
    decoding: Engines
    shaken: Engines | None = None
    unrounded: Engines | None = None
    precise: Engines | None = None

    @staticmethod
    def with_network(subject: Engines, specs: Sequence[GraphSpec], reduced: ReducedNetwork | None = None) -> "Sides":
        """A bundle and the PyTorch network it came from: in float64, and in float32. reduced: how these round."""
        contexts = (nullcontext, nullcontext) if reduced is None else (reduced.truth, reduced.own)
        truth: Engines = {spec.file: TorchGraph(spec, precise=True, rounding=contexts[0]) for spec in specs}
        own: Engines = {spec.file: TorchGraph(spec, rounding=contexts[1]) for spec in specs}
        if reduced is None:
            return Sides(subject, truth, own, own)
        shaken: Engines = {spec.file: TorchGraph(spec, rounding=reduced.shaken) for spec in specs}
        unrounded: Engines = {spec.file: TorchGraph(spec, rounding=reduced.truth) for spec in specs}
        precise: Engines = {spec.file: TorchGraph(spec, precise=True, rounding=reduced.own) for spec in specs}
        return Sides(subject, truth, own, own, shaken, unrounded, precise)

    @staticmethod
    def with_bundle(subject: Engines, other: Bundle, settings: SessionSettings) -> "Sides":
        """Two bundles. Rounding is what ONNX Runtime's optimiser changes in the other one."""
        truth = sessions(other, settings)
        return Sides(subject, truth, sessions(other, settings, optimized=False), truth)


def whole_engines(specs: Sequence[GraphSpec]) -> Engines:
    """A network in float32."""
    return {spec.file: TorchGraph(spec) for spec in specs}


def sessions(bundle: Bundle, settings: SessionSettings, *, optimized: bool = True) -> dict[str, Graph]:
    """A session for each of a bundle's graphs; one with its cache in buffers behind the ports of one without."""
    graphs = bundle.sessions(settings, optimized=optimized)
    found: dict[str, Graph] = dict(graphs)
    for file, graph in graphs.items():
        if is_tuned(graph):
            encoder = graphs.get(ports.ENCODER_FILE)
            found[file] = AsPortable(InPlaceDecoder(encoder, graph) if encoder else GroupedDecoder(graph))
        elif np.dtype(np.float16) in graph.dtypes.values():
            found[file] = Fed(graph)
    return found


class Fed:
    """A graph that is fed what it takes, whatever the floating-point type of the other engines."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.inputs, self.outputs, self.dtypes = graph.inputs, graph.outputs, graph.dtypes

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        return self._graph.run({name: value.astype(self.dtypes[name]) for name, value in feeds.items()}, outputs)


def decoder_of(engines: Engines) -> BundleDecoder:
    """The engines of a model that generates, as the runtime's own loop takes them."""
    decoder = engines[ports.MODEL_FILE if ports.MODEL_FILE in engines else ports.DECODER_FILE]
    return decoder.decoder if isinstance(decoder, AsPortable) else cached_decoder(engines)


def cached_decoder(engines: Engines) -> CachedDecoder:
    """The same with a cache outside the graphs, whatever they are."""
    if ports.MODEL_FILE in engines:
        return CachedDecoder(None, engines[ports.MODEL_FILE])
    return CachedDecoder(engines[ports.ENCODER_FILE], engines[ports.DECODER_FILE])
