"""Entities in texts, however long, wherever they stand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import (
    CLS,
    SEP,
    VOCABULARY,
    RowGraph,
    by_token,
    byte_pairs,
    manifest,
    parts,
    projected,
    sentence_pieces,
    word_pieces,
)

from diptych.runtime import ports
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Labels
from diptych.runtime.tasks.tag import Entity, Tagger

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "NOUN")
CAPITAL = {"cap": "B-LOC", "##ital": "I-PER", "##s": "I-PER"}


def make(
    folder: Path, row: Any, positions: int | None = None, tokenizer: Callable[[Path], Path] = word_pieces
) -> Tagger:
    graph = RowGraph(by_token(ports.LOGITS, row, len(LABELS)))
    return Tagger(*parts(folder, graph, manifest("tag", positions, Labels(LABELS)), tokenizer))


def by_piece(labels: dict[str, str], sure: dict[str, float] | None = None) -> Callable[[Array, Array], Array]:
    """Logits that give each piece its label; others are O."""
    numbers = {VOCABULARY[piece]: LABELS.index(label) for piece, label in labels.items()}
    strength = {VOCABULARY[piece]: value for piece, value in (sure or {}).items()}

    def row(ids: Array, types: Array) -> Array:
        logits = np.zeros((len(ids), len(LABELS)))
        for place, token in enumerate(ids.tolist()):
            logits[place, numbers.get(token, 0)] = strength.get(token, 5.0)
        return logits

    return row


def short(entities: tuple[Entity, ...]) -> list[tuple[str, str]]:
    return [(entity.label, entity.text) for entity in entities]


def test_neighbours_of_one_label_are_one_entity(tmp_path: Path) -> None:
    tag = make(tmp_path, by_piece({"paris": "B-PER", "france": "I-PER", "cafe": "NOUN", "old": "NOUN"}))
    text = "Paris  France paris, CAFÉ old france is"
    found = tag(text).entities
    assert short(found) == [("PER", "Paris  France"), ("PER", "paris"), ("NOUN", "CAFÉ old"), ("PER", "france")]
    assert all(text[entity.start : entity.end] == entity.text for entity in found)
    assert all(type(entity.score) is float for entity in found)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("none", [("B-LOC", "cap"), ("I-PER", "ital"), ("I-PER", "s")]),
        ("simple", [("LOC", "cap"), ("PER", "itals")]),
        ("first", [("LOC", "capitals")]),
        ("average", [("PER", "capitals")]),
        ("max", [("LOC", "capitals")]),
    ],
)
def test_the_pieces_of_a_word(aggregation: str, expected: list[tuple[str, str]], tmp_path: Path) -> None:
    tag = make(tmp_path, by_piece(CAPITAL, {"cap": 6.0}))
    assert short(tag("the capitals is", aggregation=aggregation).entities) == expected


def test_a_score_is_the_mean_of_its_tokens(tmp_path: Path) -> None:
    tag = make(tmp_path, by_piece({"paris": "B-PER", "france": "I-PER"}, {"paris": 1.0, "france": 3.0}))
    (found,) = tag("paris france").entities
    assert found.score == pytest.approx(np.mean([np.exp(x) / (np.exp(x) + 5) for x in (1.0, 3.0)]))


@pytest.mark.parametrize("make_tokenizer", [word_pieces, byte_pairs, sentence_pieces])
@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_offsets_hold_in_any_script(make_tokenizer: Any, aggregation: str, tmp_path: Path) -> None:
    tag = make(tmp_path, projected(len(LABELS)), tokenizer=make_tokenizer)
    for text in ["😀 the cafe\u0301s, 👩‍👩‍👧  of France. ", "Paris\tis 日本語 \u00a0 is.", "a 😀😀b"]:
        found = tag(text, aggregation=aggregation).entities
        assert found
        for entity in found:
            assert entity.text == text[entity.start : entity.end] == entity.text.strip()
            assert entity.text


def test_a_text_of_nothing_but_outside_has_no_entities(tmp_path: Path) -> None:
    assert make(tmp_path, by_piece({}))("who is old?").entities == ()


WORDS = "the capitals of france is very old , who ? paris".split()


def long_text(count: int) -> str:
    return " ".join(np.random.default_rng(count).choice(WORDS, count))


@pytest.mark.parametrize("aggregation", ["none", "simple", "average"])
@pytest.mark.parametrize("count", [1, 7, 8, 30, 101])
@pytest.mark.parametrize("positions", [6, 10, 17])
def test_windows_change_nothing_for_a_model_that_looks_at_single_tokens(
    positions: int, count: int, aggregation: str, tmp_path: Path
) -> None:
    def row(ids: Array, types: Array) -> Array:
        return np.sin(ids[:, None] * np.arange(1, len(LABELS) + 1) * 1.7) * 3

    text = long_text(count)
    whole = make(tmp_path, row)(text, aggregation=aggregation)
    assert whole == make(tmp_path, row, positions)(text, aggregation=aggregation)


@pytest.mark.parametrize("count", [9, 30, 77])
def test_a_token_is_told_by_the_window_whose_middle_is_nearest(count: int, tmp_path: Path) -> None:
    """The graph says how far a token is from its window's ends, in its certainty."""
    positions, labels = 14, len(LABELS)

    def row(ids: Array, types: Array) -> Array:
        assert (ids[0], ids[-1]) == (CLS, SEP)
        assert len(ids) <= positions
        places = np.arange(len(ids))
        depth = np.minimum(places, len(ids) - 1 - places)
        return np.eye(labels)[np.ones(len(ids), dtype=int)] * depth[:, None]

    found = make(tmp_path, row, positions)("old " * count, aggregation="none").entities
    assert len(found) == count
    # In windows of 12 words that share 3, no word is told by a window that has it at its very end, but the text's own.
    least = np.exp(2) / (np.exp(2) + labels - 1)
    assert all(entity.score > least - 1e-6 for entity in found[1:-1])


def test_order_batches_and_bad_texts(tmp_path: Path) -> None:
    tag = make(tmp_path, projected(len(LABELS)), 9)
    texts = [long_text(30), "paris", "", long_text(3), "\udce9", long_text(12)]
    found = tag.attempt(texts, batch_size=2)
    assert [isinstance(item, InputError) for item in found] == [False, False, True, False, True, False]
    for text, item in zip(texts, found, strict=True):
        assert isinstance(item, InputError) or item == tag(text)
    assert tag([]) == []


@pytest.mark.parametrize("options", [{"aggregation": "most"}, {"aggregation": None}, {"agregation": "max"}])
def test_a_wrong_option_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        make(tmp_path, by_piece({})).check_options(**options)
