"""Each filter against the logits processor of transformers that it stands for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers.generation as theirs
from oracle.filter_cases import (
    BAD_WORDS,
    BIASES,
    EOS,
    LIMIT,
    SCORES,
    assert_alike,
    make_scores,
    ours,
    probabilities,
    ragged,
    unpadded,
)

from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.history import PADDING
from diptych.runtime.generation.options import GenerationOptions

Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Make = Callable[[torch.Tensor, int, torch.Tensor], Processor]
EACH: list[tuple[dict[str, Any], Make]] = [
    ({"sequence_bias": BIASES}, lambda ids, given, read: theirs.SequenceBiasLogitsProcessor(dict(BIASES))),
    *[
        (
            {"encoder_repetition_penalty": value},
            lambda ids, given, read, value=value: theirs.EncoderRepetitionPenaltyLogitsProcessor(value, read),
        )
        for value in (0.7, 1.3)
    ],
    *[
        (
            {"repetition_penalty": value},
            lambda ids, given, read, value=value: theirs.RepetitionPenaltyLogitsProcessor(value),
        )
        for value in (0.7, 1.3)
    ],
    *[
        ({"no_repeat_ngram_size": size}, lambda ids, given, read, size=size: theirs.NoRepeatNGramLogitsProcessor(size))
        for size in (1, 2, 3, 4)
    ],
    *[
        (
            {"encoder_no_repeat_ngram_size": size},
            lambda ids, given, read, size=size: theirs.EncoderNoRepeatNGramLogitsProcessor(size, read),
        )
        for size in (1, 2, 3, 4)
    ],
    ({"bad_words_ids": BAD_WORDS}, lambda ids, given, read: theirs.NoBadWordsLogitsProcessor(BAD_WORDS, list(EOS))),
    ({"min_length": 5}, lambda ids, given, read: theirs.MinLengthLogitsProcessor(5, list(EOS))),
    ({"min_new_tokens": 3}, lambda ids, given, read: theirs.MinNewTokensLengthLogitsProcessor(given, 3, list(EOS))),
    ({"forced_bos_token_id": 4}, lambda ids, given, read: theirs.ForcedBOSTokenLogitsProcessor(4)),
    (
        {"forced_eos_token_id": [2, 5]},
        lambda ids, given, read: theirs.ForcedEOSTokenLogitsProcessor(given + LIMIT, [2, 5]),
    ),
    ({"remove_invalid_values": True}, lambda ids, given, read: theirs.InfNanRemoveLogitsProcessor()),
    *[
        (
            {"exponential_decay_length_penalty": (start, factor)},
            lambda ids, given, read, start=start, factor=factor: theirs.ExponentialDecayLengthPenalty(
                (start, factor), list(EOS), given
            ),
        )
        for start, factor in ((0, 1.5), (2, 1.01), (1, 0.5))
    ],
    ({"suppress_tokens": [3, 5]}, lambda ids, given, read: theirs.SuppressTokensLogitsProcessor([3, 5])),
    (
        {"begin_suppress_tokens": [3, 5]},
        lambda ids, given, read: theirs.SuppressTokensAtBeginLogitsProcessor([3, 5], given),
    ),
    ({"renormalize_logits": True}, lambda ids, given, read: theirs.LogitNormalization()),
]


@pytest.mark.parametrize("encodes", [True, False], ids=["encoder-decoder", "decoder-only"])
@pytest.mark.parametrize(("options", "make"), EACH, ids=[str(options)[:60] for options, _ in EACH])
def test_a_filter_is_the_processor_of_transformers(options: dict[str, Any], make: Make, encodes: bool) -> None:
    for seed in range(8):
        for kind in SCORES:
            history, scores = ragged(seed, encodes=encodes), make_scores(kind, seed)
            rows = [unpadded(history, row) for row in range(len(history))]
            expected = [
                make(*row)(row[0], torch.tensor(own[None])).numpy()[0] for row, own in zip(rows, scores, strict=True)
            ]
            result = ours(GenerationOptions().updated(options), EOS, history, scores)
            assert_alike(result, np.stack(expected), exact="renormalize_logits" not in options)


WARPERS: list[tuple[dict[str, Any], Callable[[int], Processor]]] = [
    *[
        ({"temperature": value}, lambda least, value=value: theirs.TemperatureLogitsWarper(value))
        for value in (0.3, 1.7)
    ],
    *[
        ({"top_k": count}, lambda least, count=count: theirs.TopKLogitsWarper(count, min_tokens_to_keep=least))
        for count in (1, 2, 5, 50)
    ],
    *[
        ({"top_p": mass}, lambda least, mass=mass: theirs.TopPLogitsWarper(mass, min_tokens_to_keep=least))
        for mass in (0.0, 0.2, 0.5, 0.75, 0.9, 0.999)
    ],
    *[
        ({"min_p": share}, lambda least, share=share: theirs.MinPLogitsWarper(share, min_tokens_to_keep=least))
        for share in (0.0, 0.05, 0.5, 1.0)
    ],
    *[
        ({"typical_p": mass}, lambda least, mass=mass: theirs.TypicalLogitsWarper(mass, min_tokens_to_keep=least))
        for mass in (0.1, 0.5, 0.9, 0.999)
    ],
    *[
        (
            {"epsilon_cutoff": value},
            lambda least, value=value: theirs.EpsilonLogitsWarper(value, min_tokens_to_keep=least),
        )
        for value in (0.001, 0.05, 0.9)
    ],
    *[
        ({"eta_cutoff": value}, lambda least, value=value: theirs.EtaLogitsWarper(value, min_tokens_to_keep=least))
        for value in (0.001, 0.05, 0.9)
    ],
    *[({"top_h": share}, lambda least, share=share: theirs.TopHLogitsWarper(share)) for share in (0.1, 0.4, 0.9)],
]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(("options", "make"), WARPERS, ids=[str(options) for options, _ in WARPERS])
def test_a_rule_of_sampling_is_the_warper_of_transformers(
    options: dict[str, Any], make: Callable[[int], Processor], beams: int
) -> None:
    for seed in range(8):
        for kind in SCORES:
            history, scores = ragged(seed), make_scores(kind, seed)
            expected = make(1 if beams == 1 else len(EOS) + 1)(torch.tensor(history.ids), torch.tensor(scores)).numpy()
            chosen = GenerationOptions().updated({"do_sample": True, "top_k": 0, "num_beams": beams, **options})
            assert_alike(ours(chosen, EOS, history, scores), expected, exact=True)


@pytest.mark.parametrize("scale", [0.2, 3.0], ids=["broad", "peaked"])
@pytest.mark.parametrize(
    ("options", "make"),
    [(options, make) for options, make in WARPERS if "temperature" not in options],
    ids=[str(options) for options, _ in WARPERS if "temperature" not in options],
)
def test_a_large_vocabulary_is_cut_in_the_same_place(
    options: dict[str, Any], make: Callable[[int], Processor], scale: float
) -> None:
    """At the very edge some may fall on either side: float32 sums of so many are rounded in different orders."""
    scores = np.random.default_rng(3).normal(0.0, scale, (2, 40_000)).astype(np.float32)
    history = ragged(0, rows=2)
    expected = make(1)(torch.tensor(history.ids), torch.tensor(scores)).numpy()
    result = scores.copy()
    for apply in make_filters(GenerationOptions().updated({"do_sample": True, "top_k": 0, **options}), EOS, 40_000):
        apply(history, result)
    differ = np.where((result > -np.inf) != (expected > -np.inf), probabilities(scores), 0)
    assert differ.sum(axis=1).max() < 1e-3
    assert ((result == scores) | (result == -np.inf)).all()


def test_a_repetition_penalty_forgets_the_padding_of_a_batch() -> None:
    history, scores = ragged(5), make_scores("random", 5)
    length = history.ids.shape[1]
    assert len(set(history.lengths)) > 1
    process = theirs.RepetitionPenaltyLogitsProcessor(1.3, prompt_ignore_length=torch.tensor(length - history.lengths))
    expected = process(torch.tensor(np.where(history.ids == PADDING, 0, history.ids)), torch.tensor(scores)).numpy()
    assert_alike(ours(GenerationOptions(repetition_penalty=1.3), EOS, history, scores), expected, exact=True)
