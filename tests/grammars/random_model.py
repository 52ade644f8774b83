"""A language model and a translator whose logits are chance, and a generator over them."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from fakes import FakeDecoder, FakeState, Prefix
from grammar_tokenizers import names_of

from diptych.runtime import ports
from diptych.runtime.generation.generator import Generator
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest, SpecialTokens
from diptych.runtime.tokenizer import Tokenizer


class RandomModel(FakeDecoder):
    """Drawn by the source, the number of tokens and the last one; tokens of `ending` are likelier, for short texts."""

    def __init__(self, vocab_size: int, ending: Sequence[int], *, encodes: bool) -> None:
        super().__init__(vocab_size)
        self.encoder = object() if encodes else None
        self.decoder = SimpleNamespace(outputs={ports.LOGITS: ("batch_size", "sequence_length", vocab_size)})
        self._bias = np.zeros(vocab_size, dtype=np.float32)
        self._bias[list(ending)] = 4.0

    def logits(self, source: Prefix, prefix: Prefix) -> Array:
        rng = np.random.default_rng([len(source), *source, len(prefix), prefix[-1]])
        return np.asarray(rng.normal(1.0, 2.0, self.vocab_size).astype(np.float32) + self._bias)

    def part(self, state: FakeState) -> None:
        state.owners, state.rows_per_source = np.arange(len(state.owners)), 1


def random_generator(
    tokenizer: Tokenizer, eos: str = "</s>", *, encodes: bool, spare: int = 3, **defaults: Any
) -> Generator:
    """It has `spare` more logits than the tokenizer has tokens."""
    names = names_of(tokenizer)
    size, ends = len(names) + spare, [names.index(eos)]
    ending = [*ends, *(names.index(name) for name in '"]},' if name in names)]
    tokens = SpecialTokens(pad=0, eos=tuple(ends), decoder_start=0 if encodes else None)
    task, family = ("translate", "bart") if encodes else ("generate", "gpt2")
    manifest = Manifest(task, family, tokens, size, None, None, {"max_new_tokens": 400, **defaults})
    model: Any = RandomModel(size, ending, encodes=encodes)
    return Generator(model, manifest, lambda: tokenizer)
