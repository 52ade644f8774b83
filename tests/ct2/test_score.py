"""Log-probabilities of given targets against CTranslate2's `score_batch`."""

from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer

pytest.importorskip("ctranslate2")

from ct2.cases import SOURCES, TARGETS

if TYPE_CHECKING:
    from ct2.engines import CTranslate2, Diptych

TOLERANCE = 1e-3


def test_every_target_after_every_source(ours: "Diptych", theirs: "CTranslate2", tokenizer: Tokenizer) -> None:
    """Sources and targets of all lengths together; the shortest target is the EOS alone."""
    pairs = [(tokenizer.encode(source).ids, tokenizer.encode(target).ids) for source in SOURCES for target in TARGETS]
    sources, targets = (list(side) for side in zip(*pairs, strict=True))
    expected = theirs.score(sources, [target[:-1] for target in targets])
    for scored, wanted in zip(ours.generator.score(sources, targets), expected, strict=True):
        assert scored.token_scores == pytest.approx(list(wanted), abs=TOLERANCE)
        assert scored.score == pytest.approx(wanted.sum(), abs=TOLERANCE)
