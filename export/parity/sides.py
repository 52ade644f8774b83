"""The engines of a comparison: the graphs under test, the truth, and what rounding alone does to the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych.export.graphs import GraphSpec
from diptych.export.torch_graph import TorchGraph
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.graph import Graph
from diptych.runtime.providers import SessionSettings

# By file: encoder.onnx and decoder.onnx, or model.onnx.
Engines = Mapping[str, Graph]


@dataclass(frozen=True)
class Sides:
    """subject: the graphs under test. truth: what they should compute. own: the same computed with rounding.

    decoding: that of the latter two which decodes, when searches are compared.
    """

    subject: Engines
    truth: Engines
    own: Engines
    decoding: Engines

    @staticmethod
    def with_network(subject: Engines, specs: Sequence[GraphSpec]) -> "Sides":
        """A bundle and the PyTorch network it came from: in float64, and in float32."""
        own = {spec.file: TorchGraph(spec) for spec in specs}
        return Sides(subject, {spec.file: TorchGraph(spec, precise=True) for spec in specs}, own, own)

    @staticmethod
    def with_bundle(subject: Engines, other: Bundle, settings: SessionSettings) -> "Sides":
        """Two bundles. Rounding is what ONNX Runtime's optimiser changes in the other one."""
        truth = sessions(other, settings)
        return Sides(subject, truth, sessions(other, settings, optimized=False), truth)


def sessions(bundle: Bundle, settings: SessionSettings, *, optimized: bool = True) -> dict[str, Graph]:
    """A session for each of a bundle's graphs."""
    return dict(bundle.sessions(settings, optimized=optimized))


def cached_decoder(engines: Engines) -> CachedDecoder:
    """The engines of a model that generates, behind the runtime's own loop."""
    if ports.MODEL_FILE in engines:
        return CachedDecoder(None, engines[ports.MODEL_FILE])
    return CachedDecoder(engines[ports.ENCODER_FILE], engines[ports.DECODER_FILE])
