"""Ids, scores and attention of drawn combinations of options against CTranslate2."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("ctranslate2")

from ct2.cases import draw
from ct2.engines import texts

CASES = 240
LOGIT_TOLERANCE, SCORE_TOLERANCE, ATTENTION_TOLERANCE = 1e-3, 1e-3, 1e-4


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Near-ties are allowed, and rare."""
    counts: Counter[str] = Counter()
    yield counts
    assert counts["near-ties"] <= 0.01 * counts["hypotheses"], counts


def test_both_engines_have_the_same_network(logit_error: float) -> None:
    assert logit_error < LOGIT_TOLERANCE


@pytest.mark.parametrize("number", range(CASES))
def test_ids_scores_and_attention(number, seed, ours, theirs, tokenizer, logit_error, tally) -> None:
    case = draw(seed, number)
    sources, prefixes = texts(case, tokenizer)
    found, expected = ours(case, sources, prefixes), theirs(case, sources, prefixes)
    for mine, wanted in zip(found, expected, strict=True):
        assert len(mine) == len(wanted)
        for one, other in zip(mine, wanted, strict=True):
            tally["hypotheses"] += 1
            if one.ids != other.ids:
                assert abs(one.score - other.score) < 4 * logit_error, f"{case}: {one} is not {other}"
                tally["near-ties"] += 1
                continue
            assert one.score == pytest.approx(other.score, abs=SCORE_TOLERANCE)
            if other.attention is not None:
                np.testing.assert_allclose(one.attention, other.attention, atol=ATTENTION_TOLERANCE)
