"""One model twice: as transformers computes it, and as we do, in PyTorch and from the exported graphs."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from families import torch_oracle
from families.case import Case
from tiny_checkpoints import fill

from diptych.export import export_checkpoint
from diptych.export.defaults import generation_defaults, source_side, special_tokens
from diptych.export.graphs import graphs
from diptych.export.torch_graph import TorchGraph
from diptych.model import Checkpoint, load_checkpoint
from diptych.model import architecture as arch
from diptych.runtime import Generator
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.graph import Graph
from diptych.runtime.manifest import Manifest
from diptych.runtime.providers import SessionSettings

Engine = Literal["PyTorch", "ONNX"]
ENGINES: tuple[Engine, ...] = ("PyTorch", "ONNX")
TOLERANCES: dict[Engine, float] = {"PyTorch": 1e-5, "ONNX": 1e-4}
# What is said of outputs within these.
CLOSE: dict[Engine, str] = {"PyTorch": "≤ 1e-5", "ONNX": "≤ 1e-4"}
SETTINGS = SessionSettings("cpu", 1)


def make_reference(case: Case, seed: int | None = 7) -> Any:
    """The model of transformers, with weights of decent size; without a seed, as one starts to train it."""
    if case.model == "TorchTransformer":
        reference: Any = torch_oracle.TorchTransformer(torch_oracle.TorchConfig(**case.config))
    else:
        kind = getattr(transformers, case.model)
        reference = kind(kind.config_class(**copy.deepcopy(case.config)))
    if seed is None:
        return reference
    fill(reference, seed)
    restore_computed_positions(reference)
    if hasattr(reference, "final_logits_bias"):
        reference.final_logits_bias.copy_(torch.linspace(-0.5, 0.5, reference.final_logits_bias.shape[-1])[None])
    return reference.eval()


def restore_computed_positions(reference: Any) -> None:
    """Computed tables are parameters there, and were filled with noise like the others."""
    for module in reference.modules():
        if hasattr(module, "create_weight"):
            with torch.no_grad():
                module.weight.copy_(module.create_weight())


@dataclass
class Twins:
    """`saved`: what transformers computes with. folder: the checkpoint it became, read for `task` if there is one."""

    saved: Any
    folder: Path
    task: str | None = None

    @property
    def reference(self) -> Any:
        """Fresh each time: dynamic positions remember the longest text they have seen."""
        return copy.deepcopy(self.saved)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return load_checkpoint(self.folder, self.task)

    @property
    def spec(self) -> arch.Architecture:
        return self.checkpoint.network.spec

    @cached_property
    def bundle(self) -> Bundle:
        """What an export writes once its own comparison with PyTorch has passed."""
        folder = self.folder.with_name(f"{self.folder.name}-bundle")
        export_checkpoint(self.folder, folder, task=self.task)
        return Bundle.open(folder)

    def model(self, engine: Engine) -> Graph:
        """Of a model that reads whole texts."""
        if engine == "PyTorch":
            (spec,) = graphs(self.checkpoint.network, self.checkpoint.task)
            return TorchGraph(spec)
        return self.bundle.model(SETTINGS)

    def decoder(self, engine: Engine) -> CachedDecoder:
        if engine == "ONNX":
            return self.bundle.decoder(SETTINGS)
        *encoder, decoder = map(TorchGraph, graphs(self.checkpoint.network, self.checkpoint.task))
        return CachedDecoder(encoder[0] if encoder else None, decoder)

    def generator(self, engine: Engine) -> Generator:
        return Generator(self.decoder(engine), self.bundle.manifest if engine == "ONNX" else self._manifest())

    def _manifest(self) -> Manifest:
        """What an export would say."""
        spec, side = self.spec, source_side(self.spec)
        assert not isinstance(spec, arch.EncoderOnly)
        return Manifest(
            task=self.checkpoint.task,
            family=self.checkpoint.family,
            tokens=special_tokens(self.checkpoint),
            source_vocabulary=side.embedding.vocab_size,
            source_positions=side.longest,
            target_positions=spec.decoder.longest,
            generation=generation_defaults(self.checkpoint, spec.decoder.longest, ()),
        )


MakeTwins = Callable[[Case], Twins]
Record = Callable[..., None]
