"""One case on both sides: what `generate` of transformers finds, what we find, and whether a difference is rounding."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import pytest
import torch
from families.case import PAD, START
from oracle.grid import Case
from oracle.grid_models import Learned, NoisyGenerator

from diptych.runtime import Generator
from diptych.runtime.decoder import Sources
from diptych.runtime.generation.steps import Hypothesis

# What float32 tells of a score beyond 100, as a negative length penalty makes them.
TOLERANCE, RELATIVE = 1e-4, 1e-6
# Beams that transformers never started, or gave up: it fills up with them where there is nothing else to return.
GIVEN_UP = -1e6
TRIES = 40
# `exponential_decay_length_penalty` multiplies what `remove_invalid_values` has made of infinity.
OVERFLOWN = 1e30


@dataclass(frozen=True)
class Found:
    """token_scores: those of `compute_transition_scores`; of beams not normalised again."""

    ids: list[int]
    score: float
    token_scores: list[float]

    def is_real(self, length_penalty: float) -> bool:
        return not self.score * max(1, len(self.ids)) ** length_penalty < GIVEN_UP


Results = list[list[Found]]


@dataclass
class Tally:
    """What the grid has seen of its options and its models."""

    events: Counter[str] = field(default_factory=Counter)
    options: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    tokens: set[int] = field(default_factory=set)
    texts: set[tuple[int, ...]] = field(default_factory=set)
    near_ties: list[str] = field(default_factory=list)

    def add(self, case: Case, results: Results, near_ties: list[str]) -> None:
        self.events.update(["cases", case.kind, case.engine, f"{case.beams} beams"])
        self.events.update({"near-ties": len(near_ties[:1]), "sources": len(results)})
        self.near_ties += near_ties
        self.options.update([*case.options, *(["target_prefixes"] if case.prefixes else [])])
        self.options.update([] if case.guesses is None else ["prompt_lookup_num_tokens"])
        self.options.update(["batch_size"] if case.batch_size and case.batch_size < len(case.sources) else [])
        for found in (one for hypotheses in results for one in hypotheses):
            self.events["hypotheses"] += 1
            self.events["ended before the limit"] += found.ids[-1] in case.eos
            self.lengths[len(found.ids)] += 1
            self.tokens |= set(found.ids)
            self.texts.add(tuple(found.ids))

    def __str__(self) -> str:
        told = [f"{name}: {count}" for name, count in sorted(self.events.items())]
        drawn = [f"{name} {count}" for name, count in self.options.most_common()]
        return (
            f"{', '.join(told)}; {len(self.tokens)} tokens in {len(self.texts)} texts of {len(self.lengths)} lengths; "
            f"options: {', '.join(drawn)}"
        )


def theirs(learned: Learned, case: Case) -> Results:
    """For each source what was really found, best first."""
    results: dict[int, list[Found]] = {}
    for group in case.groups:
        found = _generate(learned.theirs, case, group)
        each = len(found) // len(group)
        results |= {place: found[rank * each : (rank + 1) * each] for rank, place in enumerate(group)}
    penalty = case.options.get("length_penalty", 1.0)
    return [[one for one in results[place] if one.is_real(penalty)] for place in range(len(case.sources))]


def ours(generator: Generator, case: Case) -> Results:
    given: dict[str, Any] = {} if case.batch_size is None else {"batch_size": case.batch_size}
    if case.guesses is not None:
        given["prompt_lookup_num_tokens"] = case.guesses
    if case.prefixes is not None:
        given["target_prefixes"] = [list(prefix) for prefix in case.prefixes]
    results = generator([list(source) for source in case.sources], **given, output_scores=True, **case.options)
    penalty = case.options.get("length_penalty", 1.0)
    return [[one for one in map(_as_found, found) if one.is_real(penalty)] for found in results]


def compare(learned: Learned, case: Case, tally: Tally) -> None:
    """Same ids, scores within the tolerance. What differs by rounding alone is counted, and shown."""
    mine, wanted = ours(learned.ours[case.engine], case), theirs(learned, case)
    near_ties: list[str] = []
    for place, (found, expected) in enumerate(zip(mine, wanted, strict=True)):
        if not all(abs(one.score) < OVERFLOWN for one in expected):
            assert not any(isnan(one.score) for one in found), f"source {place} of {case}: {found}"
            tally.events["overflows in transformers"] += 1
        elif [one.ids for one in found] != [one.ids for one in expected]:
            told = f"source {place} of {case}:\n  ours   {found}\n  theirs {expected}"
            assert is_near_tie(learned, case, place, expected), told
            near_ties.append(told)
        else:
            for one, other in zip(found, expected, strict=True):
                assert one.score == pytest.approx(other.score, abs=TOLERANCE, rel=RELATIVE), (place, case, one, other)
                assert one.token_scores == pytest.approx(other.token_scores, abs=TOLERANCE, rel=RELATIVE), (
                    place,
                    case,
                    one,
                    other,
                )
    tally.add(case, wanted, near_ties)


def target_scores(model: Any, case: Case, source: Sequence[int], target: list[int]) -> list[float]:
    """Of each of the target's tokens, after the source, by one pass of transformers."""
    ids = [START, *target] if case.is_pair else [*source, *target]
    feeds = {"input_ids": torch.tensor([list(source)]), "decoder_input_ids": torch.tensor([ids])}
    with torch.no_grad():
        logits = model(**feeds if case.is_pair else {"input_ids": torch.tensor([ids])}).logits[0]
    shares = logits.log_softmax(-1)[-len(target) - 1 : -1]
    return shares.gather(1, torch.tensor(target)[:, None])[:, 0].tolist()


def _as_found(hypothesis: Hypothesis) -> Found:
    assert hypothesis.token_scores is not None
    return Found(hypothesis.ids, hypothesis.score, list(hypothesis.token_scores))


def _generate(model: Any, case: Case, places: list[int]) -> list[Found]:
    sources = [list(case.sources[place]) for place in places]
    padded = Sources.pad(sources if case.is_pair else [source[::-1] for source in sources], PAD)
    ids, mask = (torch.from_numpy(it if case.is_pair else it[:, ::-1].copy()) for it in (padded.ids, padded.mask))
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    width = 1 if case.is_pair else ids.shape[1]
    if case.prefixes is not None:
        start = case.options.get("decoder_start_token_id", START)
        given["decoder_input_ids"] = torch.tensor([[start, *case.prefixes[place]] for place in places])
        width = given["decoder_input_ids"].shape[1]
    asked = {"do_sample": False, "output_scores": True, "return_dict_in_generate": True, **case.options}
    with warnings.catch_warnings():
        # Of options it is given on purpose.
        warnings.simplefilter("ignore")
        output = model.generate(**given, **asked)
    beams = getattr(output, "beam_indices", None)
    steps = model.compute_transition_scores(output.sequences, output.scores, beams, normalize_logits=beams is None)
    rows = output.sequences[:, width:].tolist()
    if beams is None:
        lengths = [_length(row, case.eos) for row in rows]
        scores = [float(step[:length].sum()) for step, length in zip(steps, lengths, strict=True)]
    else:
        lengths, scores = (beams >= 0).sum(dim=1).tolist(), output.sequences_scores.tolist()
    found = zip(rows, lengths, scores, steps.tolist(), strict=True)
    return [Found(row[:length], score, step[:length]) for row, length, score, step in found]


def _length(row: list[int], eos: list[int]) -> int:
    """Up to the end; padding follows."""
    return next((place + 1 for place, token in enumerate(row) if token in eos), len(row))


def is_near_tie(learned: Learned, case: Case, place: int, expected: list[Found]) -> bool:
    """Whether two candidates were nearer to each other than four times the error of logits.

    Then scores wrong by twice that, of one candidate up and of another down, make us find what transformers found.
    """
    error, wanted = learned.errors[case.engine], [one.ids for one in expected]
    noisy = (NoisyGenerator(learned.ours[case.engine], 2 * error, seed) for seed in range(TRIES))
    return any([one.ids for one in ours(generator, case)[place]] == wanted for generator in noisy)
