"""Where CTranslate2 defines a thing otherwise, or as we do: what docs/ctranslate2.md says of it, by running it."""

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

pytest.importorskip("ctranslate2")

from ct2.cases import NEGLIGIBLE, SOURCES, TARGETS
from ct2.engines import CTranslate2

Words = list[list[str]]
# Words, score, attention, source.
Decoded = tuple[list[str], float, list[list[float]], list[str]]
TEXTS = SOURCES[4:7]


@pytest.fixture(scope="module")
def sources(tokenizer: Tokenizer) -> Words:
    return [tokenizer.encode(text).tokens for text in TEXTS]


def _decode(theirs: CTranslate2, sources: Words, **options: Any) -> list[Decoded]:
    """Every hypothesis, its score, and its attention, which is right for single sources only."""
    found = []
    for index, source in enumerate(sources):
        chosen = {name: [value[index]] if name == "target_prefix" else value for name, value in options.items()}
        [result] = theirs.translator.translate_batch(
            [source], return_scores=True, return_attention=True, return_end_token=True, **chosen
        )
        found += [(*each, source) for each in zip(result.hypotheses, result.scores, result.attention, strict=True)]
    return found


def _log_probabilities(theirs: CTranslate2, source: list[str], hypothesis: list[str]) -> np.ndarray:
    [result] = theirs.translator.score_batch([source], [hypothesis[:-1]])
    return np.array(result.log_probs)


def _uncovered(attention: list[list[float]]) -> float:
    return float(np.log(np.minimum(np.sum(attention, axis=0), 1)).sum())


@pytest.mark.parametrize("beams", [1, 4])
def test_the_end_counts_in_length_and_coverage_and_greedy_search_has_both(
    beams: int, theirs: CTranslate2, sources: Words
) -> None:
    options = {"beam_size": beams, "num_hypotheses": beams, "length_penalty": 0.6, "coverage_penalty": 0.4}
    for words, score, attention, source in _decode(theirs, sources, **options):
        assert words[-1] == "</s>"
        assert len(attention) == len(words)
        steps = _log_probabilities(theirs, source, words)
        assert score == pytest.approx(steps.sum() / len(words) ** 0.6 + 0.4 * _uncovered(attention), abs=1e-3)


def test_a_prefix_counts_in_length_and_coverage_but_not_in_probability(theirs: CTranslate2, sources: Words) -> None:
    prefixes = [["ĠOÃ¹", "Ġse"], ["ĠElle"], ["ĠOÃ¹", "Ġest", "Ġla"]]
    options = {"beam_size": 4, "num_hypotheses": 2, "length_penalty": 1.0, "coverage_penalty": 0.4}
    for words, score, attention, source in _decode(theirs, sources, target_prefix=prefixes, **options):
        prefix = prefixes[sources.index(source)]
        assert words[: len(prefix)] == prefix
        free = _log_probabilities(theirs, source, words)[len(prefix) :]
        assert score == pytest.approx(free.sum() / len(words) + 0.4 * _uncovered(attention), abs=1e-3)


def test_only_the_best_beam_may_end_right_after_a_prefix(theirs: CTranslate2, tokenizer: Tokenizer) -> None:
    source = tokenizer.encode(SOURCES[11]).tokens
    prefix = tokenizer.encode(TARGETS[3], add_special_tokens=False).tokens
    options = {"beam_size": 4, "length_penalty": 0, "coverage_penalty": NEGLIGIBLE, "min_decoding_length": 0}
    [(words, score, *_)] = _decode(theirs, [source], target_prefix=[prefix], **options)
    assert words[len(prefix)] != "</s>"
    assert _log_probabilities(theirs, source, [*prefix, "</s>"])[-1] > score + 1


def test_limits_count_a_prefix_and_the_least_leaves_out_the_end(theirs: CTranslate2, sources: Words) -> None:
    prefixes = [["ĠElle", "Ġne"]] * len(sources)
    limits = {"min_decoding_length": 9, "max_decoding_length": 12}
    lengths = {len(words) for words, *_ in _decode(theirs, sources, target_prefix=prefixes, **limits)}
    assert lengths <= {10, 11, 12}


def test_alternatives_are_ordered_by_their_first_token_and_divided_by_the_length_after_it(
    theirs: CTranslate2, sources: Words
) -> None:
    prefixes = [[], ["ĠElle"], ["ĠOÃ¹", "Ġest"]]
    options = {"beam_size": 2, "num_hypotheses": 5, "return_alternatives": True, "length_penalty": 1.0}
    for source, prefix in zip(sources, prefixes, strict=True):
        firsts = []
        for words, score, *_ in _decode(theirs, [source], target_prefix=[prefix], **options):
            steps = _log_probabilities(theirs, source, words)[len(prefix) :]
            end = _log_probabilities(theirs, source, [*prefix, "</s>"])[-1]
            firsts.append(steps[0] - np.log1p(-np.exp(end)))
            assert score == pytest.approx(firsts[-1] + steps[1:].mean(), abs=1e-3)
        assert firsts == sorted(firsts, reverse=True)


def test_without_penalties_the_search_stops_at_its_first_ending(theirs: CTranslate2, sources: Words) -> None:
    options = {"beam_size": 6, "num_hypotheses": 2, "length_penalty": 0}
    stopped, through = (
        [score for _, score, *_ in _decode(theirs, sources[:1], coverage_penalty=penalty, **options)]
        for penalty in (0, NEGLIGIBLE)
    )
    assert stopped[0] == pytest.approx(through[0], abs=1e-3)
    assert stopped[1] < through[1] - 1


def test_a_source_that_is_only_an_end_is_not_run(theirs: CTranslate2) -> None:
    [result] = theirs.translator.translate_batch([["</s>"]], return_scores=True)
    assert (result.hypotheses, result.scores) == ([[]], [0.0])
