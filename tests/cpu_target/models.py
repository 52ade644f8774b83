"""What the tests of both kinds of decoders share: small models, their graphs for the CPU, and what is near enough."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from families.case import PAD, Case
from families.twins import SETTINGS, make_reference

from diptych.export.graph_spec import GraphSpec
from diptych.export.packing import pack
from diptych.export.trace import trace
from diptych.export.weights_file import write_models
from diptych.runtime import Generator
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.graph import Array, OrtGraph
from diptych.runtime.manifest import Manifest, SpecialTokens


class Models:
    """Checkpoints and graphs by name, each made once."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        self.cases = cases

    @cached_property
    def _folder(self) -> "TemporaryDirectory[str]":
        """Gone with the process."""
        return TemporaryDirectory()

    def checkpoint(self, name: str) -> Path:
        folder = Path(self._folder.name) / name
        if not folder.exists():
            make_reference(self.cases[name]).save_pretrained(folder)
        return folder

    def opened(self, name: str, specs: Sequence[GraphSpec]) -> list[OrtGraph]:
        """Traced, packed, written and loaded."""
        folder = Path(self._folder.name) / f"{name}-graphs"
        folder.mkdir()
        models = [(spec.file, trace(spec)) for spec in specs]
        for _, model in models:
            pack(model.graph)
        write_models(models, folder)
        return [OrtGraph(folder / spec.file, SETTINGS) for spec in specs]


def close(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(1.0, float(np.abs(expected).max())))


def generator(
    decoder: BundleDecoder, task: str, vocab_size: int, positions: int, start: int | None = None
) -> Generator:
    tokens = SpecialTokens(pad=PAD, eos=(2,), decoder_start=start)
    return Generator(decoder, Manifest(task, "", tokens, vocab_size, None, positions, {}))
