"""Prompt lookup says what greedy search says, in fewer steps: 200 inputs each of two trained models."""

import sys
from typing import Any

import numpy as np
import pytest
from families.training import FIRST, VOCAB
from oracle.grid import Kind
from oracle.grid_models import learn

from diptych.runtime import Generator
from diptych.runtime.decoder import CachedDecoder, CacheState
from diptych.runtime.graph import Array
from diptych.runtime.memory import Entries

INPUTS, LENGTH = 200, 24
FILTERED = {
    "no_repeat_ngram_size": 4,
    "repetition_penalty": 1.1,
    "min_new_tokens": 3,
    "bad_words_ids": [[FIRST, FIRST]],
}


class Counting(CachedDecoder):
    """How often the decoder's graph ran."""

    runs = 0

    def feeds(self, state: CacheState, ids: Array, keep: int) -> Entries:
        self.runs += 1
        return super().feeds(state, ids, keep)


@pytest.fixture(scope="module", params=["bart", "llama"])
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Counting]:
    kind: Kind = request.param
    exact = learn(kind, tmp_path_factory.mktemp(kind)).ours["ONNX"]
    decoder = Counting(exact.decoder.encoder, exact.decoder.decoder)
    return Generator(decoder, exact.manifest), decoder


def inputs() -> list[list[int]]:
    """Half of them say everything twice, as texts do that are to be corrected or summed up."""
    random = np.random.default_rng(3)
    rows = [random.integers(FIRST, VOCAB, int(random.integers(2, 8))).tolist() for _ in range(INPUTS)]
    return [row * (1 + number % 2) for number, row in enumerate(rows)]


@pytest.mark.parametrize("options", [{}, FILTERED], ids=["plain", "filtered"])
@pytest.mark.parametrize(("guesses", "longest"), [(1, 1), (10, 3)])
def test_the_same_ids_in_fewer_steps(
    guesses: int, longest: int, options: dict[str, Any], counted: tuple[Generator, Counting]
) -> None:
    generator, decoder = counted
    asked = {"max_new_tokens": LENGTH, **options}
    greedy = [found[0] for found in generator(inputs(), **asked)]
    decoder.runs = 0
    lookup = {"prompt_lookup_num_tokens": guesses, "max_matching_ngram_size": longest}
    found = [found[0] for found in generator(inputs(), **lookup, **asked)]
    assert [each.ids for each in found] == [each.ids for each in greedy]
    np.testing.assert_allclose([each.score for each in found], [each.score for each in greedy], atol=1e-4)
    steps = sum(len(each.ids) for each in greedy)
    assert decoder.runs < steps
    record_steps(f"{guesses} guesses", decoder.runs, steps)


def record_steps(name: str, runs: int, steps: int) -> None:
    """Shown by `pytest -s`."""
    sys.stdout.write(f"\n{name}: {runs} steps instead of {steps}, {1 - runs / steps:.0%} saved\n")
