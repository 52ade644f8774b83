"""A model that is one encoder graph, over many texts.

Shapes: B texts of a batch, S tokens of the longest, L of one text.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE, BATCH_TOKENS, TOKENS_OF_A_CORE, of_like_length
from diptych.runtime.decoder import Sources
from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.graph import Array, Graph
from diptych.runtime.manifest import PORTABLE, Manifest
from diptych.runtime.memory_limit import MemoryLimit, Sizes
from diptych.runtime.tokens import Tokens
from diptych.runtime.workers import in_turn

_INPUTS = (ports.INPUT_IDS, ports.ATTENTION_MASK, ports.TOKEN_TYPE_IDS)


class Encoder:
    """Texts in batches of like length, padded on the right; out comes each text's own, without padding."""

    def __init__(
        self, graph: Graph, manifest: Manifest, memory: MemoryLimit | None = None, *, threads: int = 0, workers: int = 1
    ) -> None:
        """memory: what batches fit in. threads: of the graph's session, 0 = one per core. workers: batches that run at
        the same time.

        Raises BundleError if the graph wants more than a text.
        """
        self.graph = graph
        self.manifest = manifest
        self.memory = memory
        self.workers = 1 if memory is not None else workers
        cores = threads or os.cpu_count() or 1
        self.most_tokens = None if manifest.target == PORTABLE else cores * TOKENS_OF_A_CORE
        unknown = [name for name in graph.inputs if name not in _INPUTS]
        if unknown:
            raise BundleError(f"the graph needs {', '.join(unknown)}; expected of an encoder is {', '.join(_INPUTS)}")

    def run(
        self, texts: Sequence[Tokens], batch_size: int = BATCH_SIZE, batch_tokens: int = BATCH_TOKENS
    ) -> Iterator[tuple[int, dict[str, Array]]]:
        """The number of a text and its outputs, float32: [L, …] where there is one for each token, else […].

        A batch at a time, so not in order. Outputs are views of the batch's: what is kept of them must be a copy.
        Where the graph is made for a CPU, batches are no larger than its caches. Raises OptionError for a wrong batch
        size.
        """
        batches = of_like_length([len(text.ids) for text in texts], batch_size, batch_tokens, self._together)

        def read(batch: list[int]) -> tuple[list[int], dict[str, Array]]:
            return batch, self.graph.run(self._feeds([texts[number] for number in batch]))

        for batch, outputs in in_turn(read, batches, self.workers):
            for row, number in enumerate(batch):
                yield number, {name: self._own(name, value[row], texts[number]) for name, value in outputs.items()}

    @property
    def longest(self) -> int | None:
        """The most tokens the model reads, special ones included; None = no limit."""
        return self.manifest.source_positions

    def check(self, text: Tokens) -> None:
        """Raises InputError if the model cannot read this text."""
        vocabulary, longest = self.manifest.source_vocabulary, self.longest
        outside = [token for token in text.ids if not 0 <= token < vocabulary]
        if outside:
            raise InputError(f"ids {outside[:5]} are outside the vocabulary of {vocabulary}")
        if longest is not None and len(text.ids) > longest:
            raise InputError(f"too long: {len(text.ids)} tokens, the model reads {longest}; split the text")
        if self.memory is not None and not self._fits(1, len(text.ids)):
            raise InputError(self.memory.needs(_sizes(1, len(text.ids))))

    def _together(self, texts: int, tokens: int) -> bool:
        return (self.most_tokens is None or texts * tokens <= self.most_tokens) and self._fits(texts, tokens)

    def _fits(self, texts: int, tokens: int) -> bool:
        return self.memory is None or self.memory.fits(_sizes(texts, tokens))

    def _feeds(self, texts: list[Tokens]) -> dict[str, Array]:
        padded = Sources.pad([text.ids for text in texts], self.manifest.tokens.pad)
        types = Sources.pad([text.types for text in texts], 0).ids
        feeds = dict(zip(_INPUTS, (padded.ids, padded.mask, types), strict=True))
        return {name: feeds[name] for name in self.graph.inputs}

    def _own(self, name: str, output: Array, text: Tokens) -> Array:
        by_token = ports.SEQUENCE_LENGTH in self.graph.outputs[name][:2]
        return (output[: len(text.ids)] if by_token else output).astype(np.float32, copy=False)


def _sizes(texts: int, tokens: int) -> Sizes:
    return Sizes(texts, tokens, 0, 0)
