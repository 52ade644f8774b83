"""Options in hundreds of combinations against `generate` of transformers: same ids, same scores.

`make grid SEED=7 CASES=2000` draws others.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
from families.training import VOCAB
from oracle.grid import CASES, LONGEST, SEED, Kind, draw_case
from oracle.grid_compare import Tally, compare, ours
from oracle.grid_models import Learned, learn

Learn = Callable[[Kind], Learned]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learn:
    models: dict[Kind, Learned] = {}

    def of(kind: Kind) -> Learned:
        if kind not in models:
            models[kind] = learn(kind, tmp_path_factory.mktemp(kind))
        return models[kind]

    return of


@pytest.fixture(scope="module")
def tally() -> Tally:
    return Tally()


@pytest.mark.parametrize("number", range(CASES))
def test_ids_and_scores_are_those_of_transformers(number: int, learned: Learn, tally: Tally) -> None:
    case = draw_case(SEED, number)
    compare(learned(case.kind), case, tally)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -0.5])
def test_every_pair_of_stopping_and_penalty(
    length_penalty: float, early_stopping: bool | str, learned: Learn, tally: Tally
) -> None:
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 16}
    options |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
    for number in range(4):
        case = draw_case(-1, number)
        compare(learned(case.kind), replace(case, prefixes=None, options=options), tally)


def test_the_grid_was_varied(learned: Learn, tally: Tally) -> None:
    """Texts end at many lengths, are of many tokens, and beams find others than greedy search. Tells what was drawn."""
    if tally.events["cases"] < CASES:
        pytest.skip("the grid did not run")
    logging.getLogger(__name__).info("seed %d: %s", SEED, tally)
    for near_tie in tally.near_ties:
        warnings.warn(f"near-tie: {near_tie}", stacklevel=1)
    assert tally.events["near-ties"] <= 0.01 * tally.events["cases"]
    assert tally.events["no numbers in transformers"] <= 0.02 * tally.events["sources"]
    assert tally.events["ended before the limit"] >= 0.3 * tally.events["hypotheses"]
    assert len(tally.tokens) > 0.8 * VOCAB
    assert len(tally.lengths) >= 15
    every = [draw_case(SEED, number) for number in range(CASES)]
    plain = [replace(case, options={"num_beams": 1, "max_new_tokens": LONGEST}) for case in every[:40]]
    greedy = [ours(learned(case.kind).ours["ONNX"], case) for case in plain]
    beams = [
        ours(learned(case.kind).ours["ONNX"], replace(case, options=case.options | {"num_beams": 4})) for case in plain
    ]
    assert sum(one != other for one, other in zip(greedy, beams, strict=True)) >= 10
