"""Many texts through one graph: each gets what it would get alone."""

import numpy as np
import pytest
from readers import PAD, WIDTH, RowGraph, by_token, manifest, states

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import BundleError, InputError, OptionError
from diptych.runtime.tokens import Tokens

RAGGED = [[5, 6, 7, 8], [9], [5, 5, 5, 5, 5, 5, 7], [6, 6], [8], [9, 8, 7], [5, 6, 7, 8]]


def text(ids: list[int], type_id: int = 0) -> Tokens:
    return Tokens(ids, [type_id] * len(ids), [(0, 1)] * len(ids), [0] * len(ids), [0] * len(ids))


def graph(*, token_types: bool = True) -> RowGraph:
    outputs = by_token(ports.LAST_HIDDEN_STATE, states, WIDTH)
    outputs["pooled"] = ((WIDTH,), lambda ids, types: states(ids, types)[0])
    return RowGraph(outputs, token_types=token_types)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_each_text_gets_its_own_without_padding(batch_size: int) -> None:
    texts = [text(ids, number % 2) for number, ids in enumerate(RAGGED)]
    found = dict(Encoder(graph(), manifest("embed")).run(texts, batch_size))
    assert sorted(found) == list(range(len(texts)))
    for number, outputs in found.items():
        expected = states(np.array(texts[number].ids), np.array(texts[number].types)).astype(np.float32)
        assert outputs[ports.LAST_HIDDEN_STATE].dtype == np.float32
        np.testing.assert_array_equal(outputs[ports.LAST_HIDDEN_STATE], expected)
        np.testing.assert_array_equal(outputs["pooled"], expected[0])


def test_texts_of_like_length_run_together() -> None:
    fake = graph()
    list(Encoder(fake, manifest("embed")).run([text(ids) for ids in RAGGED], 3))
    assert fake.runs == [(3, 2), (3, 4), (1, 7)]


def test_token_types_are_fed_only_where_they_are_asked_for() -> None:
    ((_, outputs),) = Encoder(graph(token_types=False), manifest("embed")).run([text([5, 6], 1)])
    np.testing.assert_array_equal(outputs[ports.LAST_HIDDEN_STATE][:, 2], np.float32([-0.5, -0.5]))


def test_no_texts_need_no_run() -> None:
    fake = graph()
    assert list(Encoder(fake, manifest("embed")).run([])) == []
    assert fake.runs == []


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_has_a_text(batch_size: int) -> None:
    with pytest.raises(OptionError, match="batch_size"):
        list(Encoder(graph(), manifest("embed")).run([], batch_size))


def test_half_precision_becomes_single() -> None:
    fake = graph()
    run = fake.run
    fake.run = lambda feeds: {name: value.astype(np.float16) for name, value in run(feeds).items()}  # type: ignore[method-assign]
    ((_, outputs),) = Encoder(fake, manifest("embed")).run([text([5])])
    assert outputs["pooled"].dtype == np.float32


def test_what_the_model_cannot_read_is_refused() -> None:
    encoder = Encoder(graph(), manifest("embed", positions=4, vocabulary=9))
    encoder.check(text([5, 6, 7, 8]))
    with pytest.raises(InputError, match="too long: 5 tokens, the model reads 4"):
        encoder.check(text([PAD] * 5))
    with pytest.raises(InputError, match=r"\[9\] are outside the vocabulary of 9"):
        encoder.check(text([9]))
    Encoder(graph(), manifest("embed")).check(text([5] * 10_000))


def test_a_graph_that_wants_more_is_refused() -> None:
    fake = graph()
    fake.inputs["pixel_values"] = (ports.ROWS, 3)
    with pytest.raises(BundleError, match="pixel_values"):
        Encoder(fake, manifest("embed"))
