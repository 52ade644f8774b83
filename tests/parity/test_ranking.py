"""Graphs that rank their logits are held to those logits."""

from dataclasses import replace

import numpy as np

from diptych.export.parity.levels.ranking import log_sum, problems
from diptych.runtime.ranked import ranked

LOGITS = np.random.default_rng(9).normal(size=(3, 50)).astype(np.float32)
FOUND = ranked(LOGITS, 4, np.arange(50))


def test_the_runtime_ranks_right() -> None:
    assert list(problems(FOUND, 4)) == []
    assert log_sum(FOUND).holds


def test_ids_one_too_high() -> None:
    (found,) = problems(replace(FOUND, tokens=FOUND.tokens + 1), 4)
    assert found.startswith("top_ids of row 0 are ")


def test_a_logit_less_exact() -> None:
    logits = FOUND.logits.copy()
    logits[2, 3] = np.nextafter(logits[2, 3], 9)
    (found,) = problems(replace(FOUND, logits=logits), 4)
    assert found.startswith("top_logits of row 2 are ")


def test_fewer_than_were_asked_for() -> None:
    found = list(problems(replace(FOUND, tokens=FOUND.tokens[:, :3]), 4))
    assert found == ["top_ids are [3, 3], expected [3, 4]"]


def test_of_equals_the_first_is_the_best() -> None:
    equal = np.zeros((1, 50), np.float32)
    found = ranked(equal, 2, np.arange(50))
    assert list(problems(found, 2)) == []
    assert list(problems(replace(found, tokens=np.array([[1, 0]])), 2))


def test_a_sum_that_is_another() -> None:
    assert not log_sum(replace(FOUND, log_sum=FOUND.log_sum + 1e-4)).holds
