"""The growing cache over graphs of real attention: whatever happens to a batch, each row decodes as if alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from fakes import DEPTH, HEADS, VOCAB, FakeCausalGraph, FakeDecoderGraph, FakeEncoder, logits_alone
from mixing import Mix

from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder, CacheState, Sources
from diptych.runtime.errors import BundleError, EngineError
from diptych.runtime.graph import Array, Arrays, Shape

SOURCES = [[3, 4, 5, 6], [7], [2, 9, 3, 3, 8, 1], [5, 5]]


def make() -> tuple[CachedDecoder, FakeEncoder, FakeDecoderGraph]:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    return CachedDecoder(encoder, decoder), encoder, decoder


def random_targets(rows: int, length: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, VOCAB, (rows, length))


def assert_alone(logits: Array, sources: Sequence[list[int]], targets: Sequence[Sequence[int]]) -> None:
    """Each row's logits [V] are those after the last token of its target, computed alone and without a cache."""
    assert len(logits) == len(sources) == len(targets)
    expected = [logits_alone(source, list(target))[-1] for source, target in zip(sources, targets, strict=True)]
    np.testing.assert_allclose(logits, np.stack(expected), atol=1e-4)


def step(decoder: CachedDecoder, state: CacheState, ids: Sequence[int]) -> Array:
    return decoder.step(state, np.array(ids, dtype=np.int64)[:, None])


def test_sources_are_padded_on_the_right() -> None:
    padded = Sources.pad([[3, 4], [5, 6, 7], []], 9)
    assert padded.ids.tolist() == [[3, 4, 9], [5, 6, 7], [9, 9, 9]]
    assert padded.mask.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert padded.ids.dtype == padded.mask.dtype == np.int64
    assert Sources.pad([], 0).ids.shape == (0, 0)


@pytest.mark.parametrize("rows_per_source", [1, 3])
def test_steps_equal_one_pass_over_each_row_alone(rows_per_source: int) -> None:
    decoder, encoder, graph = make()
    state = decoder.start(Sources.pad(SOURCES, 0), rows_per_source)
    owners = [source for source in SOURCES for _ in range(rows_per_source)]
    targets = random_targets(len(owners), 5)
    for length in range(1, 6):
        logits = decoder.step(state, targets[:, length - 1 : length])
        assert logits.shape == (len(owners), VOCAB)
        assert_alone(logits, owners, targets[:, :length].tolist())
    assert len(encoder.runs) == 1
    assert [feeds[ports.INPUT_IDS].shape[1] for feeds in graph.feeds] == [1] * 5


def test_several_tokens_at_once_equal_one_at_a_time() -> None:
    decoder, _, _ = make()
    targets = random_targets(len(SOURCES), 6)
    state = decoder.start(Sources.pad(SOURCES, 0), 1)
    assert_alone(decoder.step(state, targets[:, :3]), SOURCES, targets[:, :3].tolist())
    assert_alone(decoder.step(state, targets[:, 3:]), SOURCES, targets.tolist())


def test_what_pads_a_source_does_not_matter() -> None:
    decoder, _, _ = make()
    results = [step(decoder, decoder.start(Sources.pad(SOURCES, pad), 1), [1, 2, 3, 4]) for pad in (0, 7)]
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


@pytest.mark.parametrize(
    ("rows_per_source", "rows", "kept"),
    [
        (1, [0, 1, 2, 3], [0, 1, 2, 3]),
        (1, [1, 3], [1, 3]),
        (1, [3, 0, 2], [3, 0, 2]),
        (1, [2], [2]),
        (1, [0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]),
        (2, [1, 0, 2, 2, 5, 4, 7, 7], [0, 0, 1, 1, 2, 2, 3, 3]),
        (2, [3, 2, 7, 7], [1, 1, 3, 3]),
        (2, [6, 7, 0, 1], [3, 3, 0, 0]),
        (2, [1, 2, 4, 7], [0, 1, 2, 3]),
        (2, [5], [2]),
        (3, [0, 1, 3, 3, 9, 11], [0, 0, 1, 1, 3, 3]),
        (2, [1, 1, 1, 0, 6, 7, 7, 6], [0, 0, 0, 0, 3, 3, 3, 3]),
    ],
)
def test_selected_rows_go_on_as_if_alone(rows_per_source: int, rows: list[int], kept: list[int]) -> None:
    decoder, encoder, _ = make()
    state = decoder.start(Sources.pad(SOURCES, 0), rows_per_source)
    targets = random_targets(len(SOURCES) * rows_per_source, 2)
    decoder.step(state, targets)
    decoder.select(state, np.array(rows))
    assert state.rows_per_source == len(rows) // len(dict.fromkeys(kept))
    grown = targets[rows]
    for seed in (1, 2):
        new = random_targets(len(rows), 1, seed)
        grown = np.concatenate([grown, new], axis=1)
        assert_alone(decoder.step(state, new), [SOURCES[source] for source in kept], grown.tolist())
    assert len(encoder.runs) == 1


@pytest.mark.parametrize(
    ("rows_per_source", "rows"), [(2, [0, 1, 2]), (2, [0, 2, 3]), (1, [0, 0, 1]), (3, [0, 1, 2, 4, 5])]
)
def test_unequal_groups_are_refused_and_change_nothing(rows_per_source: int, rows: list[int]) -> None:
    decoder, _, _ = make()
    state = decoder.start(Sources.pad(SOURCES, 0), rows_per_source)
    targets = random_targets(len(SOURCES) * rows_per_source, 2)
    decoder.step(state, targets[:, :1])
    with pytest.raises(ValueError, match="same number of rows"):
        decoder.select(state, np.array(rows))
    owners = [source for source in SOURCES for _ in range(rows_per_source)]
    assert_alone(decoder.step(state, targets[:, 1:]), owners, targets.tolist())


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 2, 2, 5, 4, 7, 7]])
def test_reordered_beams_leave_the_cross_entries_where_they_are(rows: list[int]) -> None:
    decoder, _, graph = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 2)
    step(decoder, state, [1] * 8)
    before, mask = dict(state.cross), state.source_mask
    decoder.select(state, np.array(rows))
    step(decoder, state, [2] * 8)
    assert len(before) == 4
    assert all(state.cross[name] is value for name, value in before.items())
    assert all(feeds[name] is value for feeds in graph.feeds for name, value in before.items())
    assert state.source_mask is mask


def test_each_source_has_one_copy_of_its_cross_entries() -> None:
    decoder, _, graph = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 5)
    step(decoder, state, [1] * 20)
    assert {graph.feeds[0][name].shape[0] for name in decoder.cross_names} == {len(SOURCES)}
    decoder.select(state, np.arange(5, 15))
    step(decoder, state, [1] * 10)
    assert {graph.feeds[1][name].shape[0] for name in decoder.cross_names} == {2}


@pytest.mark.parametrize("rows_per_source", [1, 2])
@pytest.mark.parametrize("first", [[[3, 4, 5, 6]], [[7], [2, 9, 3]], [[7, 7, 7, 7, 7, 7, 7, 7]]])
@pytest.mark.parametrize("joining", [[[5, 2]], [[1, 2, 3, 4, 5, 6], [8]]])
@pytest.mark.parametrize("begun", [0, 2, 3, 5])
def test_rows_that_join_midway_decode_as_if_alone(
    rows_per_source: int, first: list[list[int]], joining: list[list[int]], begun: int
) -> None:
    decoder, encoder, graph = make()
    state = decoder.start(Sources.pad(first, 0), rows_per_source)
    newcomers = decoder.start(Sources.pad(joining, 0), rows_per_source)
    sources = [source for source in [*first, *joining] for _ in range(rows_per_source)]
    old = len(first) * rows_per_source
    early, prompts = random_targets(old, 3), random_targets(len(sources) - old, begun, 2)
    decoder.step(state, early)
    if begun:
        decoder.step(newcomers, prompts)
    decoder.join(state, newcomers)
    assert decoder.length(state) == max(3, begun)
    assert len(encoder.runs) == 2, "what joins is encoded apart, and once"
    late = random_targets(len(sources), 3, 1)
    for length in range(1, 4):
        logits = decoder.step(state, late[:, length - 1 : length])
        rows = [
            [*had, *row[:length]] for had, row in zip([*early.tolist(), *prompts.tolist()], late.tolist(), strict=True)
        ]
        assert_alone(logits, sources, rows)
        positions = graph.feeds[-1][ports.POSITION_IDS][:, 0].tolist()
        assert positions == [2 + length] * old + [begun + length - 1] * (len(sources) - old)


def test_rows_join_leave_and_join_again() -> None:
    decoder, _, _ = make()
    state = decoder.start(Sources.pad(SOURCES[:2], 0), 1)
    step(decoder, state, [1, 2])
    decoder.join(state, decoder.start(Sources.pad(SOURCES[2:3], 0), 1))
    step(decoder, state, [3, 4, 5])
    decoder.select(state, np.array([2, 1]))
    decoder.join(state, decoder.start(Sources.pad(SOURCES[3:], 0), 1))
    logits = step(decoder, state, [6, 7, 8])
    assert_alone(logits, [SOURCES[2], SOURCES[1], SOURCES[3]], [[5, 6], [2, 4, 7], [8]])


@pytest.mark.parametrize("rows_per_source", [1, 2])
def test_rows_join_where_all_have_left(rows_per_source: int) -> None:
    decoder, _, _ = make()
    state = decoder.start(Sources.pad(SOURCES[:2], 0), rows_per_source)
    step(decoder, state, [1] * 2 * rows_per_source)
    decoder.select(state, np.array([], dtype=np.int64))
    assert len(state.mask) == len(state.source_mask) == decoder.length(state) == 0
    decoder.join(state, decoder.start(Sources.pad(SOURCES[2:], 0), rows_per_source))
    logits = step(decoder, state, [4] * 2 * rows_per_source)
    assert_alone(
        logits, [source for source in SOURCES[2:] for _ in range(rows_per_source)], [[4]] * 2 * rows_per_source
    )


def test_other_numbers_of_rows_cannot_join() -> None:
    decoder, _, _ = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 2)
    with pytest.raises(ValueError, match="1 cannot join 2"):
        decoder.join(state, decoder.start(Sources.pad(SOURCES, 0), 1))
    targets = random_targets(8, 2)
    assert_alone(decoder.step(state, targets), [s for s in SOURCES for _ in range(2)], targets.tolist())


def test_places_that_no_row_uses_are_dropped() -> None:
    decoder, _, graph = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 1)
    ids = np.array([[-1, -1, 1, 2], [-1, -1, -1, 3], [4, 5, 6, 7], [-1, 8, 9, 1]])
    decoder.step(state, ids)
    decoder.select(state, np.array([0, 3, 1]))
    assert decoder.length(state) == 3
    assert state.mask.tolist() == [[0, 1, 1], [1, 1, 1], [0, 0, 1]]
    assert state.source_mask.shape == (3, 4), "the longest source has left"
    decoder.select(state, np.array([2, 0]))
    assert state.mask.tolist() == [[0, 1], [1, 1]]
    logits = step(decoder, state, [2, 2])
    assert_alone(logits, [SOURCES[1], SOURCES[0]], [[3, 2], [1, 2, 2]])
    assert graph.feeds[-1][decoder.past_names[0]].shape[2] == 2
    decoder.select(state, np.array([0]))
    assert state.source_mask.shape == (1, 1)
    assert graph.feeds[-1][decoder.cross_names[0]].shape[2] == 4
    assert_alone(step(decoder, state, [5]), [SOURCES[1]], [[3, 2, 5]])


def test_a_batch_that_others_join_and_leave_does_not_grow() -> None:
    """Each row decodes three tokens and leaves while the next comes."""
    decoder, _, graph = make()
    state = decoder.start(Sources.pad([], 0), 1)
    targets: list[list[int]] = []
    sources: list[list[int]] = []
    for turn in range(30):
        source = SOURCES[turn % len(SOURCES)]
        newcomers = decoder.start(Sources.pad([source], 0), 1)
        step(decoder, newcomers, [turn % VOCAB])
        decoder.join(state, newcomers)
        sources, targets = [*sources, source], [*targets, [turn % VOCAB]]
        new = random_targets(len(sources), 1, turn)
        targets = [[*target, int(token)] for target, token in zip(targets, new[:, 0], strict=True)]
        assert_alone(decoder.step(state, new), sources, targets)
        kept = [row for row, target in enumerate(targets) if len(target) < 4]
        decoder.select(state, np.array(kept, dtype=np.int64))
        sources, targets = [sources[row] for row in kept], [targets[row] for row in kept]
    assert max(feeds[ports.DECODER_ATTENTION_MASK].shape[1] for feeds in graph.feeds) == 4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("looks_back", [True, False])
def test_rows_decode_as_if_alone_whatever_happens(seed: int, looks_back: bool) -> None:
    decoder = make()[0] if looks_back else CachedDecoder(None, FakeCausalGraph())
    mix = Mix(decoder, VOCAB, seed, longest_source=8 if looks_back else 0)
    for _ in range(14):
        logits = mix.turn()
        np.testing.assert_allclose(logits, mix.expected(), atol=1e-4)
        longest = max(map(len, mix.targets))
        assert decoder.length(mix.state) >= longest


def test_attention_is_that_of_the_last_step() -> None:
    graph = FakeDecoderGraph(attends=True)
    decoder = CachedDecoder(FakeEncoder(), graph)
    assert decoder.attends
    state = decoder.start(Sources.pad(SOURCES, 0), 2, attend=True)
    with pytest.raises(ValueError, match="last step"):
        decoder.attention(state)
    targets = random_targets(8, 3)
    decoder.step(state, targets[:, :1])
    decoder.step(state, targets[:, 1:])
    weights = decoder.attention(state)
    assert weights.shape == (8, DEPTH, HEADS, 2, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)
    assert not weights[:2, ..., 4:].any(), "nothing looks at padding"
    alone = decoder.start(Sources.pad(SOURCES[1:2], 0), 1, attend=True)
    decoder.step(alone, targets[2:3])
    np.testing.assert_allclose(decoder.attention(alone)[0, ..., 1:, :], weights[2, ..., :1], atol=1e-5)
    decoder.select(state, np.arange(8))
    with pytest.raises(ValueError, match="last step"):
        decoder.attention(state)


def test_attention_is_not_fetched_where_nobody_asks() -> None:
    graph = FakeDecoderGraph(attends=True)
    decoder = CachedDecoder(FakeEncoder(), graph)
    for attend in (False, True):
        step(decoder, decoder.start(Sources.pad(SOURCES, 0), 1, attend=attend), [1] * 4)
    assert [ports.CROSS_ATTENTIONS in (asked or ()) for asked in graph.asked] == [False, True]


def test_a_graph_that_does_not_tell_its_attention() -> None:
    decoder, encoder, _ = make()
    assert not decoder.attends
    with pytest.raises(BundleError, match="--with-attention"):
        decoder.start(Sources.pad(SOURCES, 0), 1, attend=True)
    assert encoder.runs == []


@pytest.mark.parametrize("length", [0, 1, 3, 4])
def test_trimmed_rows_go_on_from_what_is_left(length: int) -> None:
    decoder, encoder, _ = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 1)
    targets = random_targets(len(SOURCES), 4)
    decoder.step(state, targets)
    decoder.trim(state, length)
    again = random_targets(len(SOURCES), 2, 5)
    expected = np.concatenate([targets[:, :length], again], axis=1)
    assert_alone(decoder.step(state, again), SOURCES, expected.tolist())
    assert len(encoder.runs) == 1


def test_a_step_that_fails_can_be_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, _, graph = make()
    state = decoder.start(Sources.pad(SOURCES, 0), 1)
    targets = random_targets(len(SOURCES), 4)
    decoder.step(state, targets[:, :2])
    with monkeypatch.context() as patched:
        patched.setattr(graph, "run", lambda *_: (_ for _ in ()).throw(EngineError("out of memory")))
        with pytest.raises(EngineError, match="out of memory"):
            decoder.step(state, targets[:, 2:])
    assert decoder.length(state) == 2
    assert_alone(decoder.step(state, targets[:, 2:]), SOURCES, targets.tolist())


def test_padding_on_the_left_of_targets_is_not_seen() -> None:
    decoder, _, graph = make()
    targets = [[1, 2, 3, 4], [5], [6, 7], [8, 9, 1]]
    ids = np.array([[-1] * (4 - len(row)) + row for row in targets])
    state = decoder.start(Sources.pad(SOURCES, 0), 1)
    logits = decoder.forward(state, ids)
    assert logits.shape == (4, 4, VOCAB)
    for row, (source, target) in enumerate(zip(SOURCES, targets, strict=True)):
        np.testing.assert_allclose(logits[row, 4 - len(target) :], logits_alone(source, target), atol=1e-4)
    assert graph.feeds[-1][ports.POSITION_IDS].tolist() == [[0, 1, 2, 3], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 2]]
    assert_alone(
        step(decoder, state, [2, 3, 4, 5]), SOURCES, [[*t, new] for t, new in zip(targets, [2, 3, 4, 5], strict=True)]
    )


@dataclass
class Ports:
    """A graph of which only the ports matter."""

    inputs: dict[str, Shape] = field(default_factory=dict)
    outputs: dict[str, Shape] = field(default_factory=dict)

    def run(self, feeds: Arrays) -> dict[str, Array]:
        raise AssertionError("never run")


def without(shapes: dict[str, Shape], name: str) -> dict[str, Shape]:
    assert name in shapes
    return {key: value for key, value in shapes.items() if key != name}


def test_a_cross_entry_that_the_encoder_does_not_give_is_refused() -> None:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    lacking = Ports(encoder.inputs, without(encoder.outputs, "present.1.encoder.value"))
    with pytest.raises(BundleError, match=r"past_key_values\.1\.encoder\.value"):
        CachedDecoder(lacking, decoder)


def test_a_past_that_no_output_becomes_is_refused() -> None:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    lacking = Ports(decoder.inputs, without(decoder.outputs, "present.0.decoder.key"))
    with pytest.raises(BundleError, match=r"past_key_values\.0\.decoder\.key") as caught:
        CachedDecoder(encoder, lacking)
    assert "present.1" not in str(caught.value)


def test_graphs_swapped_or_without_a_cache_are_refused() -> None:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    with pytest.raises(BundleError, match="cache"):
        CachedDecoder(decoder, encoder)
    with pytest.raises(BundleError, match="cache"):
        CachedDecoder(encoder, Ports({ports.INPUT_IDS: ("batch_size", "n")}, decoder.outputs))
