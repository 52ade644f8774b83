"""Vectors of texts: pooled, cut and compared as sentence-transformers does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import WIDTH, RowGraph, by_token, manifest, parts, states

from diptych.runtime import ports
from diptych.runtime.errors import BundleError, InputError, OptionError
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Pooling
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tasks.similarity import Similarity

TEXTS = ["Paris is the capital of France.", "old", "who is very old?", "日本 😀", "the cafe"]
LONG = "very " * 30


def make(folder: Path, pooling: Pooling | None, positions: int | None = 20, kind: Any = Embedder) -> Any:
    graph = RowGraph(by_token(ports.LAST_HIDDEN_STATE, states, WIDTH))
    return kind(*parts(folder, graph, manifest("embed", positions, pooling=pooling)))


def token_states(embed: Embedder, text: str) -> Array:
    ids = np.array(embed.tokenizer.read(text).ids)
    return states(ids, np.zeros_like(ids))


POOLED = {
    "mean": lambda rows: rows.sum(axis=0) / len(rows),
    "cls": lambda rows: rows[0],
    "max": lambda rows: rows.max(axis=0),
    "last": lambda rows: rows[-1],
}


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("mode", POOLED)
@pytest.mark.parametrize("normalize", [False, True])
def test_every_text_is_pooled_by_itself(mode: Any, normalize: bool, batch_size: int, tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling(mode, normalize))
    for text, found in zip(TEXTS, embed(TEXTS, batch_size=batch_size), strict=True):
        expected = POOLED[mode](token_states(embed, text))
        if normalize:
            expected = expected / np.sqrt((expected**2).sum())
        assert found.dtype == np.float32
        assert found.base is None, "a vector must not keep its batch in memory"
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_options_stand_in_for_the_bundle_s_pooling(tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=True))
    expected = make(tmp_path, Pooling("max", normalize=False))(TEXTS[0])
    np.testing.assert_array_equal(embed(TEXTS[0], pooling="max", normalize=False), expected)


def test_one_text_gives_one_vector_and_a_list_a_list(tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=False))
    assert embed(TEXTS[0]).shape == (WIDTH,)
    assert [vector.shape for vector in embed(TEXTS[:1])] == [(WIDTH,)]
    assert embed([]) == []


@pytest.mark.parametrize(("max_length", "positions", "kept"), [(6, 20, 6), (6, None, 6), (30, 20, 20), (40, None, 32)])
def test_a_long_text_is_cut_as_the_model_was_trained(
    max_length: int, positions: int | None, kept: int, tmp_path: Path
) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=False, max_length=max_length), positions)
    np.testing.assert_array_equal(embed(LONG), embed("very " * (kept - 2)))


def test_a_long_text_is_an_error_where_nothing_says_how_to_cut_it(tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=False))
    found = embed.attempt(["old", LONG, "", "paris"])
    assert [isinstance(item, InputError) for item in found] == [False, True, True, False]
    with pytest.raises(InputError, match="text 1: too long: 32 tokens, the model reads 20"):
        embed(["old", LONG])


def test_similarity_is_the_cosine_of_each_with_each(tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=False))
    found = embed.similarity(TEXTS[:2], TEXTS)
    vectors = [vector / np.linalg.norm(vector) for vector in embed(TEXTS)]
    np.testing.assert_allclose(found, [[one @ other for other in vectors] for one in vectors[:2]], atol=1e-6)
    np.testing.assert_allclose(embed.similarity(embed(TEXTS[:2]), np.stack(embed(TEXTS))), found, atol=1e-6)
    assert embed.similarity([], TEXTS).shape == (0, len(TEXTS))
    assert found.dtype == np.float32


def test_pairs_are_compared(tmp_path: Path) -> None:
    compare = make(tmp_path, Pooling("cls", normalize=True), kind=Similarity)
    embed = make(tmp_path, Pooling("cls", normalize=True))
    pairs = [("old", "very old"), ("paris", "paris"), (LONG, "old"), ("", "old"), ("the", "cafe")]
    found = compare.attempt(pairs, batch_size=2)
    assert [isinstance(item, InputError) for item in found] == [False, False, True, True, False]
    assert found[1] == pytest.approx(1.0)
    assert found[0] == pytest.approx(float(embed.similarity(["old"], ["very old"])[0, 0]))
    assert isinstance(compare.attempt(["old"])[0], InputError)


@pytest.mark.parametrize("options", [{"poolin": "cls"}, {"pooling": "median"}, {"normalize": 1}, {"top_k": 3}])
def test_a_wrong_option_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    embed = make(tmp_path, Pooling("mean", normalize=False))
    with pytest.raises(OptionError, match=next(iter(options))):
        embed.check_options(**options)
    with pytest.raises(OptionError):
        embed.attempt([], **options)


def test_a_bundle_without_pooling_or_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="pooling"):
        make(tmp_path, None)
    graph = RowGraph({ports.LOGITS: ((2,), lambda ids, types: np.zeros(2))})
    with pytest.raises(BundleError, match="last_hidden_state"):
        Embedder(*parts(tmp_path, graph, manifest("embed", pooling=Pooling("mean", normalize=False))))
