"""What filters are applied to, and the ids that are refused."""

from typing import Any

import numpy as np
import pytest

from diptych.runtime.errors import OptionError
from diptych.runtime.generation.beam import Beam
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.options import GenerationOptions

VOCAB = 9
EOS = (1, 7)


def test_filters_edit_logits_under_greedy_and_log_probabilities_under_beams() -> None:
    logits = np.random.default_rng(0).normal(3.0, 1.0, (4, VOCAB)).astype(np.float32)
    np.testing.assert_array_equal(Greedy(Endings(EOS)).scores(logits), logits)
    log_probabilities = Beam(Endings(EOS), GenerationOptions(num_beams=2)).scores(logits)
    np.testing.assert_allclose(np.exp(log_probabilities.astype(np.float64)).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.diff(log_probabilities - logits), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "outside"),
    [
        ("sequence_bias", [[[VOCAB, 1], 2.0]], VOCAB),
        ("sequence_bias", [[[1], 2.0], [[1, VOCAB + 2], 2.0]], VOCAB + 2),
        ("bad_words_ids", [[1, 2], [3, VOCAB]], VOCAB),
        ("bad_words_ids", [[VOCAB + 5, 2]], VOCAB + 5),
        ("suppress_tokens", [VOCAB], VOCAB),
        ("begin_suppress_tokens", [0, VOCAB], VOCAB),
        ("forced_bos_token_id", VOCAB, VOCAB),
        ("forced_eos_token_id", VOCAB, VOCAB),
        ("forced_eos_token_id", [1, VOCAB + 1], VOCAB + 1),
        ("eos_token_id", VOCAB, VOCAB),
        ("eos_token_id", [1, VOCAB + 1], VOCAB + 1),
    ],
)
def test_an_id_outside_the_vocabulary_is_refused_by_name(name: str, value: Any, outside: int) -> None:
    options = GenerationOptions.from_mapping({name: value})
    with pytest.raises(OptionError, match=rf"{name}.*\b{outside}\b.*\b{VOCAB}\b"):
        make_filters(options, EOS, VOCAB)
    make_filters(options, EOS, VOCAB + 6)


def test_many_ids_outside_the_vocabulary_are_not_all_listed() -> None:
    options = GenerationOptions.from_mapping({"suppress_tokens": list(range(100, 200)) * 2})
    with pytest.raises(OptionError, match=r"suppress_tokens has 100, 101, 102, 103, 104, …, outside"):
        make_filters(options, EOS, VOCAB)
