"""Labels of texts and of pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import RowGraph, manifest, parts, projected

from diptych.runtime import ports
from diptych.runtime.errors import BundleError, InputError, OptionError
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Labels
from diptych.runtime.tasks.classify import Classifier

NAMES = ("good", "bad", "neither")


def make(folder: Path, names: tuple[str, ...] = NAMES, logits: Any = None, *, multi: bool = False) -> Classifier:
    row = projected(len(names))

    def pooled(ids: Array, types: Array) -> Array:
        return row(ids, types).mean(axis=0) if logits is None else np.array(logits)

    graph = RowGraph({ports.LOGITS: ((len(names),), pooled)})
    return Classifier(
        *parts(
            folder, graph, manifest("classify", 12, Labels(names, "sigmoid" if multi or len(names) == 1 else "softmax"))
        )
    )


def test_scores_are_shares_of_the_labels_best_first(tmp_path: Path) -> None:
    found = make(tmp_path, logits=[1.0, 3.0, -2.0])("old")
    shares = np.exp([3.0, 1.0, -2.0]) / np.exp([3.0, 1.0, -2.0]).sum()
    assert list(found.scores) == ["bad", "good", "neither"]
    assert list(found.scores.values()) == pytest.approx(shares.tolist())
    assert (found.label, found.score, found.labels) == ("bad", found.scores["bad"], ("bad",))
    assert all(type(score) is float for score in found.scores.values())


def test_several_labels_hold_each_by_itself(tmp_path: Path) -> None:
    classify = make(tmp_path, logits=[1.0, 3.0, -2.0], multi=True)
    found = classify("old")
    assert list(found.scores.values()) == pytest.approx([1 / (1 + np.exp(-x)) for x in (3.0, 1.0, -2.0)])
    assert found.labels == ("bad", "good")
    assert classify("old", threshold=0.9).labels == ("bad",)
    assert classify("old", threshold=1).labels == ()
    assert classify("old", threshold=0.0, top_k=2).labels == ("bad", "good")


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (np.int64(2), 2), (7, 3)])
def test_as_many_labels_are_told_as_are_asked_for(top_k: int, count: int, tmp_path: Path) -> None:
    found = make(tmp_path)("old", top_k=top_k)
    assert found.labels == tuple(found.scores)[:count]
    assert len(found.scores) == 3


def test_a_single_label_is_a_sigmoid_and_a_regression_its_logit(tmp_path: Path) -> None:
    classify = make(tmp_path, ("relevant",), logits=[-1.5])
    assert classify("old").score == pytest.approx(1 / (1 + np.exp(1.5)))
    assert classify("old", function_to_apply="none").score == pytest.approx(-1.5)


@pytest.mark.parametrize("logits", [[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
@pytest.mark.parametrize("multi", [False, True])
def test_large_logits_do_not_overflow(logits: list[float], multi: bool, tmp_path: Path) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = make(tmp_path, logits=logits, multi=multi)("old")
    assert all(0 <= score <= 1 for score in found.scores.values())


def test_pairs_and_texts_keep_their_order(tmp_path: Path) -> None:
    classify = make(tmp_path)
    texts: list[Any] = ["old", ("who", "paris is old"), "the capital of france", ("very", "old"), ["very", "old"]]
    alone = [classify.attempt([text])[0] for text in texts]
    assert classify(texts, batch_size=2) == alone
    assert alone[3] == alone[4]
    assert classify(("very", "old")) == alone[3]
    assert classify(("paris is old", "who")) != alone[1]


def test_what_cannot_be_read_keeps_its_place(tmp_path: Path) -> None:
    texts: list[Any] = ["old", "", "very " * 20, ("a",), ("a", "b", "c"), ("a", ""), 7, "old"]
    found = make(tmp_path).attempt(texts)
    assert [isinstance(item, InputError) for item in found] == [False, *[True] * 6, False]
    assert found[0] == found[-1]


def test_unknown_words_are_words(tmp_path: Path) -> None:
    assert make(tmp_path)("日本").label in NAMES


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"top_k": True}, {"top_k": "1"}, {"threshold": 1.5}, {"threshold": "x"}, {"threshold": None},
     {"function_to_apply": "relu"}, {"topk": 1}],
)  # fmt: skip
def test_a_wrong_option_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        make(tmp_path).check_options(**options)


def test_a_near_miss_is_corrected(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'threshold'"):
        make(tmp_path)("old", treshold=0.1)


def test_labels_must_be_there_and_fit(tmp_path: Path) -> None:
    graph = RowGraph({ports.LOGITS: ((3,), lambda ids, types: np.zeros(3))})
    with pytest.raises(BundleError, match="names no labels"):
        Classifier(*parts(tmp_path, graph, manifest("classify")))
    with pytest.raises(BundleError, match="2 labels, the graph has 3"):
        Classifier(*parts(tmp_path, graph, manifest("classify", labels=Labels(("a", "b")))))
