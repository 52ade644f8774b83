"""Options in hundreds of combinations against `generate` of transformers: same ids, same scores.

`make grid SEED=7 CASES=2000` draws others.
"""

import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from families.case import EOS
from families.training import FIRST, VOCAB
from oracle.grid import CASES, LONGEST, SEED, Case, Kind, draw_case
from oracle.grid_compare import TOLERANCE, Tally, compare, is_near_tie, ours, target_scores
from oracle.grid_models import Learned, learn

from diptych.runtime.generation import requests

Learn = Callable[[Kind], Learned]


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small batches, too, sources join as soon as others leave."""
    monkeypatch.setattr(requests, "_LEFT", 0.9)


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
    """The more tokens end a text, the more often it matters when a search stops."""
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 30}
    options |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
    for number, ends in enumerate([0, 8, 30, 0, 8, 30]):
        words = random.Random(number).sample(range(FIRST, VOCAB), ends)
        case = plain(number, **options, eos_token_id=[EOS, *words])
        compare(learned(case.kind), case, tally)


@pytest.mark.parametrize("number", range(20))
def test_a_stream_is_the_best_hypothesis(number: int, learned: Learn) -> None:
    case = draw_case(-1, number)
    generator = learned(case.kind).ours[case.engine]
    for place, source in enumerate(case.sources):
        prefix = () if case.prefixes is None else case.prefixes[place]
        (found,) = generator([source], target_prefixes=[prefix], **case.options)
        assert list(generator.stream(source, target_prefix=prefix, **case.options)) == found[0].ids


@pytest.mark.parametrize("number", range(4))
def test_scores_of_targets_are_those_of_transformers(number: int, learned: Learn) -> None:
    case = plain(number, num_beams=3, max_new_tokens=LONGEST)
    model = learned(case.kind)
    targets = [found[0].ids for found in ours(model.ours[case.engine], case)]
    scored = model.ours[case.engine].score(case.sources, targets)
    for source, target, found in zip(case.sources, targets, scored, strict=True):
        assert found.token_scores == pytest.approx(target_scores(model.theirs, case, source, target), abs=TOLERANCE)
        assert found.score == pytest.approx(sum(found.token_scores), abs=TOLERANCE)


@pytest.mark.parametrize("number", range(2))
def test_only_what_is_rounding_is_excused(number: int, learned: Learn) -> None:
    """Two ends that are forced are equally good; a second best is not as good as the best."""
    tied = plain(number, num_beams=4, num_return_sequences=2, max_new_tokens=1, forced_eos_token_id=[8, 9])
    model = learned(tied.kind)
    for place, found in enumerate(ours(model.ours[tied.engine], tied)):
        assert {tuple(one.ids) for one in found} == {(8,), (9,)}
        assert is_near_tie(model, tied, place, found[::-1])
    ranked = plain(number, num_beams=4, num_return_sequences=4, max_new_tokens=5)
    for place, (best, second, *others) in enumerate(ours(model.ours[ranked.engine], ranked)):
        assert not is_near_tie(model, ranked, place, [second, best, *others])


def test_the_grid_was_varied(
    learned: Learn, tally: Tally, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts end at many lengths, are of many tokens, and beams find others than greedy search. Tells what was drawn."""
    if tally.events["cases"] < CASES:
        pytest.skip("the grid did not run")
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        with capsys.disabled():
            reporter.write_line(f"\nseed {SEED}: {tally}")
    for near_tie in tally.near_ties:
        warnings.warn(f"near-tie: {near_tie}", stacklevel=1)
    assert tally.events["near-ties"] <= 0.01 * tally.events["cases"]
    assert tally.events["overflows in transformers"] <= 0.02 * tally.events["sources"]
    assert tally.events["ended before the limit"] >= 0.3 * tally.events["hypotheses"]
    assert len(tally.tokens) > 0.8 * VOCAB
    assert len(tally.lengths) >= 15
    differ = 0
    for number in range(20):
        greedy, beams = (plain(number, num_beams=count, max_new_tokens=LONGEST) for count in (1, 4))
        generator = learned(greedy.kind).ours["ONNX"]
        differ += sum(
            one[0].ids != other[0].ids
            for one, other in zip(ours(generator, greedy), ours(generator, beams), strict=True)
        )
    assert differ >= 10


def plain(number: int, **options: Any) -> Case:
    """Texts of the grid, and no options but these."""
    return replace(draw_case(-1, number), prefixes=None, guesses=None, options=options)
