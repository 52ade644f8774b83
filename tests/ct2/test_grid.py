"""Ids, scores and attention of drawn combinations of options against CTranslate2."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ct2.cases import KINDS, draw
from tokenizers import Tokenizer

pytest.importorskip("ctranslate2")

from ct2.engines import texts

if TYPE_CHECKING:
    from ct2.engines import CTranslate2, Diptych

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


@pytest.mark.parametrize("number", range(CASES), ids=lambda number: f"{KINDS[number % len(KINDS)]}-{number}")
def test_ids_scores_and_attention(
    number: int,
    seed: int,
    ours: "Diptych",
    theirs: "CTranslate2",
    tokenizer: Tokenizer,
    logit_error: float,
    tally: Counter[str],
) -> None:
    case = draw(seed, number)
    sources, prefixes = texts(case, tokenizer)
    found, expected = ours(case, sources, prefixes), theirs(case, sources, prefixes)
    for mine, wanted in zip(found, expected, strict=True):
        assert len(mine) == len(wanted), case
        for one, other in zip(mine, wanted, strict=True):
            tally["hypotheses"] += 1
            if one.ids != other.ids:
                assert abs(one.score - other.score) < 4 * logit_error, f"{case}: {one} is not {other}"
                tally["near-ties"] += 1
                continue
            assert one.score == pytest.approx(other.score, abs=SCORE_TOLERANCE), case
            assert (one.attention is None) == (other.attention is None)
            if one.attention is not None:
                np.testing.assert_allclose(one.attention, other.attention, atol=ATTENTION_TOLERANCE, err_msg=str(case))
