"""Greedy and beam search against `generate` of transformers, whose semantics they take over.

Tiny BART models with random weights: the networks agree to float32 rounding, so ids and scores must.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from diptych.export.graphs import decoder_graph, encoder_graph
from diptych.export.torch_graph import TorchGraph
from diptych.model import load_checkpoint
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.manifest import Manifest, SpecialTokens

VOCAB, POSITIONS, PAD, EOS, START = 60, 40, 1, 2, 3
SEEDS = range(4)
CASES = 64
SCORE_TOLERANCE, NEAR_TIE = 1e-4, 1e-5
UNFINISHED = -1e8  # What transformers returns, lower still, in place of hypotheses that it did not find.


@dataclass(frozen=True)
class Pair:
    """One network twice: theirs and ours."""

    theirs: BartForConditionalGeneration
    ours: CachedDecoder


@dataclass(frozen=True)
class Case:
    """options: for both sides alike; lengths: of the sources."""

    seed: int
    lengths: tuple[int, ...]
    eos: tuple[int, ...]
    options: dict[str, Any]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return [_pair(seed, tmp_path_factory.mktemp("bart")) for seed in SEEDS]


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Near-ties are allowed, and rare."""
    counts: Counter[str] = Counter()
    yield counts
    assert counts["near-ties"] < 0.01 * counts["hypotheses"] or counts["near-ties"] == 0, counts


def _pair(seed: int, folder: Path) -> Pair:
    """Weights large enough that a token depends on what came before, endings likely enough to come at any length."""
    config = BartConfig(
        vocab_size=VOCAB,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=POSITIONS,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=EOS,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
    )
    torch.manual_seed(seed)
    network = BartForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name:
                matrix = 0.25 if "shared" in name else 1.0 if "embed_positions" in name else 0.15
                parameter.copy_(torch.randn_like(parameter) * (matrix if parameter.ndim > 1 else 0.05))
        network.model.decoder.layers[-1].final_layer_norm.weight.mul_(3.0)
        network.final_logits_bias.copy_(torch.randn(1, VOCAB) * 0.5)
        network.final_logits_bias[0, [EOS, 17, 31]] += torch.tensor([3.6, 2.0, 2.0])
    network.save_pretrained(folder)
    ours = load_checkpoint(folder).network
    return Pair(network, CachedDecoder(TorchGraph(encoder_graph(ours)), TorchGraph(decoder_graph(ours))))


def _case(number: int) -> Case:
    """Beams and their options in any combination; of the filters, a few at a time."""
    draw = random.Random(number)
    beams = number % 5 + 1
    options: dict[str, Any] = {"num_beams": beams}
    if beams > 1:
        options["num_return_sequences"] = draw.randint(1, beams)
        options["length_penalty"] = draw.choice([0.0, 0.6, 1.0, 2.0, -0.5])
        options["early_stopping"] = draw.choice([True, False, "never"])
    options.update(
        [draw.choice([("max_new_tokens", 9), ("max_length", 15), ("max_new_tokens", 1), ("max_new_tokens", 24)])]
    )
    filters: dict[str, Any] = {
        "min_new_tokens": draw.randint(1, 6),
        "min_length": draw.randint(2, 8),
        "repetition_penalty": draw.choice([0.7, 1.3, 2.0]),
        "no_repeat_ngram_size": draw.randint(1, 3),
        "bad_words_ids": [[EOS], [5], [7, 8], [9, 10, 11], [draw.randrange(4, VOCAB), draw.randrange(4, VOCAB)]],
        "suppress_tokens": draw.sample(range(4, VOCAB), 8),
        "begin_suppress_tokens": [EOS, *draw.sample(range(4, VOCAB), 20)],
        "forced_bos_token_id": draw.randrange(4, VOCAB),
        "forced_eos_token_id": draw.choice([EOS, [EOS, 17]]),
    }
    for name in draw.sample(sorted(filters), draw.choice([0, 0, 1, 2, 4])):
        options[name] = filters[name]
    if options.get("min_new_tokens", 0) > options.get("max_new_tokens", POSITIONS):
        del options["min_new_tokens"]
    eos = draw.choice([(EOS,), (EOS,), (EOS, 17), (EOS, 17, 31)])
    lengths = tuple(draw.randint(1, 12) for _ in range(draw.randint(1, 5)))
    return Case(draw.choice(list(SEEDS)), lengths, eos, options)


def _sources(case: Case) -> list[list[int]]:
    draw = random.Random(repr(case.lengths))
    return [[*(draw.randrange(4, VOCAB) for _ in range(length)), EOS] for length in case.lengths]


def _ours(pair: Pair, case: Case, sources: list[list[int]]) -> list[list[Hypothesis]]:
    tokens = SpecialTokens(pad=PAD, eos=case.eos, decoder_start=START)
    return Generator(pair.ours, Manifest("translate", "bart", tokens, VOCAB, POSITIONS, POSITIONS))(
        sources, **case.options
    )


def _theirs(pair: Pair, case: Case, sources: list[list[int]]) -> tuple[list[list[Hypothesis]], list[np.ndarray]]:
    """Hypotheses, and each step's filtered scores."""
    longest = max(map(len, sources))
    ids = torch.tensor([source + [PAD] * (longest - len(source)) for source in sources])
    output = pair.theirs.generate(
        input_ids=ids,
        attention_mask=(ids != PAD).long(),
        eos_token_id=list(case.eos),
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
        **case.options,
    )
    rows = [_until_eos(row, case.eos) for row in output.sequences[:, 1:].tolist()]
    if case.options["num_beams"] > 1:
        scores = output.sequences_scores.tolist()
    else:
        steps = pair.theirs.compute_transition_scores(output.sequences, output.scores, normalize_logits=True)
        scores = [float(step[: len(row)].sum()) for step, row in zip(steps, rows, strict=True)]
    found = [Hypothesis(row, score) for row, score in zip(rows, scores, strict=True)]
    each = len(found) // len(sources)
    nested = [found[start : start + each] for start in range(0, len(found), each)]
    kept = [[item for item in items if item.score > UNFINISHED] for items in nested]
    return kept, [step.numpy() for step in output.scores]


def _until_eos(row: list[int], eos: tuple[int, ...]) -> list[int]:
    ends = [place for place, token in enumerate(row) if token in eos]
    return row[: ends[0] + 1] if ends else row


def _is_near_tie(case: Case, row: int, ours: Hypothesis, theirs: Hypothesis, steps: list[np.ndarray]) -> bool:
    """Whether the two candidates that parted the hypotheses were as good as equal to transformers itself."""
    if case.options["num_beams"] > 1:
        return abs(ours.score - theirs.score) < NEAR_TIE
    place = next(place for place, (a, b) in enumerate(zip(ours.ids, theirs.ids, strict=False)) if a != b)
    return abs(steps[place][row, ours.ids[place]] - steps[place][row, theirs.ids[place]]) < NEAR_TIE


def _compare(pair: Pair, case: Case, tally: Counter[str]) -> None:
    sources = _sources(case)
    ours = _ours(pair, case, sources)
    theirs, steps = _theirs(pair, case, sources)
    assert [len(found) for found in ours] == [len(found) for found in theirs]
    for row, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        for mine, wanted in zip(found, expected, strict=True):
            tally["hypotheses"] += 1
            if mine.ids != wanted.ids:
                assert _is_near_tie(case, row, mine, wanted, steps), f"source {row}: {mine} is not {wanted}"
                tally["near-ties"] += 1
                continue
            assert mine.score == pytest.approx(wanted.score, abs=SCORE_TOLERANCE)


@pytest.mark.parametrize("number", range(CASES))
def test_ids_and_scores_are_those_of_transformers(number: int, pairs: list[Pair], tally: Counter[str]) -> None:
    case = _case(number)
    _compare(pairs[case.seed], case, tally)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -0.5])
def test_every_pair_of_stopping_and_penalty(
    length_penalty: float, early_stopping: bool | str, pairs: list[Pair], tally: Counter[str]
) -> None:
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 16}
    options |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
    for seed, pair in enumerate(pairs):
        _compare(pair, Case(seed, (3, 12, 1, 7), (EOS, 17), options), tally)


def test_the_models_are_not_degenerate(pairs: list[Pair]) -> None:
    """Texts end at many lengths, depend on the source, and are not one token repeated."""
    lengths, texts = set(), set()
    for seed, pair in enumerate(pairs):
        case = Case(seed, (3, 12, 1, 7, 9), (EOS, 17), {"num_beams": 1, "max_new_tokens": 24})
        found = [items[0].ids for items in _ours(pair, case, _sources(case))]
        lengths |= {len(ids) for ids in found}
        texts |= {tuple(ids) for ids in found}
        assert max(len(set(ids)) for ids in found) > 3
    assert len(lengths) > 3
    assert len(texts) > 12
