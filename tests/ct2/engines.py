"""The two engines behind one call each: cases in, hypotheses by id out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ct2.cases import CHECKPOINT, SOURCES, TARGETS, Case
from ct2.conversion import convert
from ctranslate2 import Translator
from tokenizers import Tokenizer

from diptych.runtime import Generator, load_generator
from diptych.runtime.decoder import Sources


@dataclass(frozen=True)
class Found:
    """ids: of the generated tokens, the EOS included, any prefix not; attention [T, S] of as many tokens."""

    ids: list[int]
    score: float
    attention: np.ndarray | None = None


class CTranslate2:
    """The example's network, converted, in float32."""

    def __init__(self, folder: Path, unknown: str = "<unk>") -> None:
        """folder: for the model. unknown: the token that stands for unknown words."""
        self.tokens = convert(CHECKPOINT, folder, unknown)
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self.translator = Translator(str(folder), compute_type="float32", inter_threads=1, intra_threads=1)

    def __call__(self, case: Case, sources: Sequence[list[int]], prefixes: Sequence[list[int]]) -> list[list[Found]]:
        results = self.translator.translate_batch(
            self._words(sources), self._words(prefixes), **case.theirs(self.tokens)
        )
        return [
            [
                Found(
                    [self.ids[token] for token in words][len(prefix) :],
                    score,
                    np.array(attention[len(prefix) :]) if case.attention else None,
                )
                for words, score, attention in zip(
                    result.hypotheses, result.scores, result.attention or [()] * len(result.hypotheses), strict=True
                )
            ]
            for prefix, result in zip(prefixes, results, strict=True)
        ]

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[np.ndarray]:
        """The log-probability of each target's tokens and of the EOS after it."""
        results = self.translator.score_batch(self._words(sources), self._words(targets))
        return [np.array(result.log_probs) for result in results]

    def logits(self, source: list[int]) -> tuple[list[int], np.ndarray]:
        """What greedy search gives, and the logits [T, V] it saw."""
        [result] = self.translator.translate_batch(
            self._words([source]), beam_size=1, min_decoding_length=0, return_logits_vocab=True, return_end_token=True
        )
        steps = [np.array(step) for step in result.logits[0]]
        return [self.ids[token] for token in result.hypotheses[0]], np.array(steps)

    def _words(self, sequences: Sequence[list[int]]) -> list[list[str]]:
        return [[self.tokens[token] for token in sequence] for sequence in sequences]


class Diptych:
    """The bundle's graphs and the search that ships."""

    def __init__(self, bundle: Path) -> None:
        self.generator: Generator = load_generator(bundle, threads=1)

    def __call__(self, case: Case, sources: Sequence[list[int]], prefixes: Sequence[list[int]]) -> list[list[Found]]:
        given = {"target_prefixes": prefixes} if any(prefixes) else {}
        results = self.generator(sources, **given, **case.ours())
        return [
            [Found(found.ids, found.score, found.attention if case.attention else None) for found in hypotheses]
            for hypotheses in results
        ]

    def logits(self, source: list[int], target: list[int]) -> np.ndarray:
        """[T, V], each before the token of the target."""
        tokens, decoder = self.generator.manifest.tokens, self.generator.decoder
        state = decoder.start(Sources.pad([source], tokens.pad), 1)
        return decoder.forward(state, np.array([[tokens.decoder_start, *target[:-1]]]))[0]


def texts(case: Case, tokenizer: Tokenizer) -> tuple[list[list[int]], list[list[int]]]:
    """A case's sources, each with its EOS, and its prefixes."""
    sources = [tokenizer.encode(SOURCES[index]).ids for index in case.sources]
    targets = [tokenizer.encode(TARGETS[index], add_special_tokens=False).ids for index in case.targets]
    return sources, [target[:length] for target, length in zip(targets, case.prefixes, strict=True)]
