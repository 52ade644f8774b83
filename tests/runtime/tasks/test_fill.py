"""What may stand where a text has a mask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import MASK, VOCABULARY, RowGraph, by_token, byte_pairs, manifest, parts, projected

from diptych.runtime import ports
from diptych.runtime.errors import BundleError, InputError, OptionError
from diptych.runtime.graph import Array
from diptych.runtime.tasks.fill import Filler


def make(folder: Path, row: Any = None, positions: int | None = 12) -> Filler:
    size = len(VOCABULARY)
    graph = RowGraph(by_token(ports.LOGITS, row or projected(size), size))
    return Filler(*parts(folder, graph, manifest("fill", positions)))


def favouring(*pieces: str) -> Any:
    """Logits that rank these pieces everywhere."""

    def row(ids: Array, types: Array) -> Array:
        logits = np.zeros((len(ids), len(VOCABULARY)))
        for rank, piece in enumerate(pieces):
            logits[:, VOCABULARY[piece]] = 9.0 - rank
        return logits

    return row


def test_candidates_come_best_first(tmp_path: Path) -> None:
    found = make(tmp_path, favouring("france", "##s", "[PAD]"))("Paris is the [MASK].", top_k=3)
    (mask,) = found.masks
    assert [(candidate.token, candidate.id) for candidate in mask] == [
        (piece, VOCABULARY[piece]) for piece in ("france", "##s", "[PAD]")
    ]
    weights = np.exp([9.0, 8.0, 7.0])
    assert [item.score for item in mask] == pytest.approx((weights / (weights.sum() + len(VOCABULARY) - 3)).tolist())
    assert found.text == "paris is the france."
    assert all(type(item.score) is float and type(item.id) is int for item in mask)


def test_each_mask_is_filled_by_itself(tmp_path: Path) -> None:
    fill = make(tmp_path)
    found = fill("[MASK] is [MASK][MASK]")
    assert [len(mask) for mask in found.masks] == [5, 5, 5]
    assert all(sorted(mask, key=lambda item: -item.score) == list(mask) for mask in found.masks)
    assert len({mask[0].score for mask in found.masks}) > 1
    assert [len(mask) for mask in fill("[MASK] is", top_k=1000).masks] == [len(VOCABULARY)]


def test_equal_scores_are_ranked_by_id(tmp_path: Path) -> None:
    found = make(tmp_path, favouring())("[MASK]", top_k=3)
    assert [item.id for item in found.masks[0]] == [0, 1, 2]


def test_a_text_without_a_mask_is_told_how_masks_look(tmp_path: Path) -> None:
    fill = make(tmp_path)
    with pytest.raises(InputError, match=r"no \[MASK\]"):
        fill("paris is <mask>")
    found = fill.attempt(["[MASK] is", "", "paris", "old [MASK]", "[MASK] " * 20])
    assert [isinstance(item, InputError) for item in found] == [False, True, True, False, True]
    assert found[0] == fill("[MASK] is")
    assert found[3] == fill("old [MASK]")


def test_a_mask_may_swallow_the_space_before_it(tmp_path: Path) -> None:
    row = projected(300)
    facts = manifest("fill")
    facts = replace(facts, tokens=replace(facts.tokens, mask=3))
    fill = Filler(*parts(tmp_path, RowGraph(by_token(ports.LOGITS, row, 300)), facts, byte_pairs))
    found = fill("a <mask> b")
    assert fill.mask == "<mask>"
    assert len(found.masks) == 1
    with pytest.raises(InputError, match="no <mask>"):
        fill("a [MASK] b")


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": None}, {"targets": ["a"]}])
def test_a_wrong_option_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        make(tmp_path).check_options(**options)


def test_a_bundle_without_a_mask_is_refused(tmp_path: Path) -> None:
    facts = manifest("fill")
    facts = replace(facts, tokens=replace(facts.tokens, mask=None))
    with pytest.raises(BundleError, match="mask"):
        Filler(*parts(tmp_path, RowGraph(by_token(ports.LOGITS, projected(5), 5)), facts))
    assert MASK == 4
