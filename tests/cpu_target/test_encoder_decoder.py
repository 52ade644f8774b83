"""Decoders that look back, for ONNX Runtime's CPU, their cache written in place: they say what portable ones say."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from cpu_target.models import Models, close
from cpu_target.models import generator as generator_of
from families.case import PAD, VOCAB, Case
from families.pair_cases import BART, T5
from families.twins import SETTINGS
from mixing import Mix, alone
from own_models import EVERY

from diptych.export.graphs import graphs
from diptych.export.pipeline import export_checkpoint
from diptych.export.torch_graph import TorchGraph
from diptych.model import load_checkpoint
from diptych.model.networks import EncoderDecoder, make_network
from diptych.runtime import Generator, load_generator, ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.errors import BundleError, EngineError, ProviderError
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.graph import Array
from diptych.runtime.in_place import InPlaceDecoder
from diptych.runtime.in_place_cache import SLOTS

CASES = {
    "bart": Case("bart", "translate", "BartForConditionalGeneration", BART | {"decoder_layers": 2}),
    "t5": Case("t5", "translate", "T5ForConditionalGeneration", T5),
}
# Groups of queries, a window, a bias by distance, an output norm, all in one.
NAMES = [*CASES, "own"]
SOURCES = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [4, 4]]

MODELS = Models(CASES)


def network(name: str) -> EncoderDecoder:
    if name != "own":
        made = load_checkpoint(MODELS.checkpoint(name), "translate").network
    else:
        torch.manual_seed(1)
        made = make_network(EVERY[0])
        with torch.no_grad():
            for weight in made.parameters():
                weight.normal_(std=0.4)
    assert isinstance(made, EncoderDecoder)
    return made


@cache
def both(name: str) -> tuple[InPlaceDecoder, CachedDecoder]:
    """The exported graphs, and the portable ones as PyTorch computes them."""
    made = network(name)
    encoder, decoder = MODELS.opened(name, graphs(made, "translate", target="cpu", with_attention=True))
    portable = [TorchGraph(spec) for spec in graphs(made, "translate", with_attention=True)]
    return InPlaceDecoder(encoder, decoder), CachedDecoder(*portable)


@cache
def plain(name: str) -> InPlaceDecoder:
    """The same, but its graph does not tell where it looks: another kernel looks there."""
    encoder, decoder = MODELS.opened(f"{name}, plain", graphs(network(name), "translate", target="cpu"))
    return InPlaceDecoder(encoder, decoder)


def vocabulary(name: str) -> int:
    return both(name)[0].vocab_size


def begun(name: str, rows_per_source: int = 1, *, attend: bool = False) -> list[tuple[Any, Any]]:
    """Both decoders, each with a state that has read sources of different lengths, and three tokens of each row."""
    sources = Sources.pad(SOURCES, PAD)
    pairs = [(decoder, decoder.start(sources, rows_per_source, attend=attend)) for decoder in both(name)]
    found, expected = (decoder.step(state, drawn(name, 3, rows_per_source)) for decoder, state in pairs)
    close(found, expected)
    return pairs


def drawn(name: str, length: int, rows_per_source: int = 1, seed: int = 0) -> Array:
    rows = len(SOURCES) * rows_per_source
    return np.random.default_rng(seed).integers(3, vocabulary(name), (rows, length))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_each_row_decodes_as_if_alone(name: str, seed: int) -> None:
    """Ragged sources and prompts, joins, beams, rows that leave or go back, several tokens at a time; buffers grow."""
    in_place, portable = both(name)
    if seed % 2:
        in_place = plain(name)
    mix: Any = Mix(in_place, vocabulary(name), seed)  # type: ignore[arg-type]
    for _ in range(12):
        found = mix.turn()
        rows = zip(mix.sources, mix.targets, strict=True)
        close(found, np.stack([alone(portable, source, target) for source, target in rows]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0, 1, 3])
def test_logits_after_several_tokens(name: str, keep: int) -> None:
    pairs = begun(name)
    for length in (4, 1, SLOTS):
        found, expected = (decoder.forward(state, drawn(name, length), keep) for decoder, state in pairs)
        close(found, expected)
    assert [decoder.length(state) for decoder, state in pairs] == [3 + 4 + 1 + SLOTS] * 2


@pytest.mark.parametrize("name", NAMES)
def test_beams_are_reordered_without_moving_what_they_said(name: str) -> None:
    """And repeated, dropped, and made sources of their own."""
    pairs = begun(name, 3)
    random = np.random.default_rng(3)
    for turn in range(20):
        before = pairs[0][1].cache.buffers
        rows = (np.arange(len(SOURCES))[:, None] * 3 + random.integers(0, 3, (len(SOURCES), 3))).reshape(-1)
        for decoder, state in pairs:
            decoder.select(state, rows)
        assert pairs[0][1].cache.buffers is before
        found, expected = (decoder.step(state, drawn(name, 1, 3, seed=turn)) for decoder, state in pairs)
        close(found, expected)
    for rows in (np.array([3, 4, 5, 9, 10, 11]), np.array([4, 3, 0, 0])):
        for decoder, state in pairs:
            decoder.select(state, rows)
        ids = np.arange(len(rows))[:, None] + 4
        found, expected = (decoder.step(state, ids) for decoder, state in pairs)
        close(found, expected)
    for decoder, state in pairs:
        decoder.part(state)
        decoder.select(state, np.array([2, 0, 3]))
    found, expected = (decoder.step(state, np.array([[5], [6], [7]])) for decoder, state in pairs)
    close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_no_beam_sees_any_more_takes_no_room(name: str) -> None:
    pairs = begun(name, 3)
    for turn in range(24):
        found, expected = (decoder.step(state, drawn(name, 1, 3, seed=turn)) for decoder, state in pairs)
        close(found, expected)
        for decoder, state in pairs:
            decoder.select(state, np.array([1, 1, 1, 3, 5, 5, 6, 7, 6, 11, 11, 11]))
    cache = pairs[0][1].cache
    # What they have in common, what two beams of one source have said since, and room for some steps.
    assert cache.seen.shape[2] <= 3 + 2 * 24 + 2 * 8 * 3
    assert cache.seen[0].any(axis=0).sum() == cache.counts[0] == 3 + 24


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 4, ports.MOST_TOP_LOGITS, ports.MOST_TOP_LOGITS + 1, VOCAB + 5])
def test_the_best_tokens_are_those_of_all_logits(name: str, count: int) -> None:
    pairs = begun(name, 2)
    asked = np.array([1, 2, 11])
    found, expected = (decoder.rank(state, drawn(name, 2, 2), count, asked) for decoder, state in pairs)
    assert found.tokens.tolist() == expected.tokens.tolist()
    close(found.logits, expected.logits)
    close(found.log_sum, expected.log_sum)
    close(found.asked, expected.asked)


def test_what_was_told_stays_what_it_was() -> None:
    """Later steps write where earlier ones did."""
    ((decoder, state), _) = begun("bart")
    logits = decoder.step(state, drawn("bart", 1))
    best = decoder.rank(state, drawn("bart", 1, seed=2), 2, np.array([5]))
    kept = logits.copy(), best.tokens.copy(), best.logits.copy(), best.log_sum.copy(), best.asked.copy()
    decoder.step(state, drawn("bart", 1, seed=3))
    decoder.rank(state, drawn("bart", 1, seed=4), 2, np.array([5]))
    for now, before in zip((logits, best.tokens, best.logits, best.log_sum, best.asked), kept, strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows_per_source", [1, 2])
def test_attention_is_told(name: str, rows_per_source: int) -> None:
    """Of many tokens some are read at a time."""
    pairs = begun(name, rows_per_source, attend=True)
    for length in (1, 3, 20):
        for decoder, state in pairs:
            decoder.step(state, drawn(name, length, rows_per_source))
        found, expected = (decoder.attention(state) for decoder, state in pairs)
        close(found, expected)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"num_beams": 4, "num_return_sequences": 3, "no_repeat_ngram_size": 2, "batch_size": 2},
    {"do_sample": True, "seed": 3, "num_return_sequences": 2},
    {"prompt_lookup_num_tokens": 3},
    {"num_beams": 2, "coverage_penalty": 0.3},
    {"alternatives": 3},
    {"target_prefixes": [[5, 6], [], [7], [8, 9, 10]], "num_beams": 2},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_search_finds_the_same(name: str, options: dict[str, Any]) -> None:
    ours, theirs = (
        generator(decoder, vocabulary(name))(SOURCES, **{"max_new_tokens": 20} | options) for decoder in both(name)
    )
    assert [[one.ids for one in found] for found in ours] == [[one.ids for one in found] for found in theirs]
    scores = [[one.score for found in side for one in found] for side in (ours, theirs)]
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_scores_are_the_same() -> None:
    targets = [[*source[::-1], 4] for source in SOURCES]
    ours, theirs = (generator(decoder, VOCAB).score(SOURCES, targets) for decoder in both("bart"))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found.token_scores, expected.token_scores, atol=1e-4)


def generator(decoder: InPlaceDecoder | CachedDecoder, vocab_size: int) -> Generator:
    return generator_of(decoder, "translate", vocab_size, 29, start=2)


def test_what_is_looked_at_stays_where_sources_are_cut_later_than_known() -> None:
    """The longest leaves, its padding stays for a while, and a text with a long prefix joins."""
    lengths = [(18, 1, 12), (20, 1, 2), (6, 23, 6)]
    requests = [
        Request(number, [5 + token % 5 for token in range(source)], [2, *[6] * (prompt - 1)], limit)
        for number, (source, prompt, limit) in enumerate(lengths)
    ]
    found: list[dict[int, Any]] = [{}, {}]
    for told, decoder in zip(found, both("bart"), strict=True):
        search, decoding = Greedy(Endings([])), cast("Any", decoder)
        for _ in decode(decoding, Waiting(requests, Room(2)), search, [], pad_id=PAD, looking_at=-1):
            told |= {number: hypotheses[0] for number, hypotheses in search.take_finished()}
    for number, (source, _, limit) in enumerate(lengths):
        ours, theirs = (told[number] for told in found)
        assert ours.ids == theirs.ids
        assert ours.attention.shape == (limit, source)
        np.testing.assert_allclose(ours.attention, theirs.attention, atol=1e-5)


def test_a_step_that_fails_changes_nothing() -> None:
    (decoder, state), (portable, other) = begun("bart")
    with pytest.raises(EngineError):
        decoder.step(state, np.full((len(SOURCES), 1), VOCAB + 9))
    assert decoder.length(state) == 3
    found, expected = decoder.step(state, drawn("bart", 1)), portable.step(other, drawn("bart", 1))
    close(found, expected)


def test_a_failure_after_places_were_left_out_changes_nothing() -> None:
    """The long row leaves, and what only it had used goes when the buffers are full."""
    decoder, portable = both("bart")
    sources = Sources.pad([[5, 6]], PAD)
    long, short = decoder.start(sources, 1), decoder.start(sources, 1)
    decoder.forward(long, np.full((1, SLOTS - 2), 7))
    target = [4, 5, 6]
    decoder.forward(short, np.array([target]))
    decoder.join(long, short)
    decoder.select(long, np.array([1]))
    with pytest.raises(EngineError):
        decoder.forward(long, np.array([[5, 6, VOCAB + 9]]))
    assert long.cache.counts.tolist() == [len(target)]
    close(decoder.step(long, np.array([[8]]))[0], alone(portable, [5, 6], [*target, 8]))


def test_logits_that_are_no_numbers_are_told_only_where_they_are_ranked() -> None:
    """A filter may remove them."""
    ((decoder, state), _) = begun("bart")
    for cross in state.cross.values():
        cross[...] = np.nan
    assert np.isnan(decoder.step(state, drawn("bart", 1))).any()
    assert np.isnan(decoder.rank(state, drawn("bart", 1), 2, np.array([5])).log_sum).any()


def test_what_does_not_fit_is_refused() -> None:
    decoder, _ = both("bart")
    state = decoder.start(Sources.pad(SOURCES, PAD), 1)
    with pytest.raises(ValueError, match="no attention"):
        decoder.attention(state)
    with pytest.raises(ValueError, match="2 cannot join 1"):
        decoder.join(state, decoder.start(Sources.pad(SOURCES, PAD), 2))


def test_a_bundle_opens_with_it_on_the_cpu_alone(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    export_checkpoint(MODELS.checkpoint("bart"), bundle, target="cpu", verify=False)
    opened = Bundle.open(bundle)
    assert opened.manifest.target == "cpu"
    decoder = opened.decoder(SETTINGS)
    assert isinstance(decoder, InPlaceDecoder)
    assert not decoder.attends
    portable = replace(opened, manifest=replace(opened.manifest, target="portable"))
    with pytest.raises(BundleError, match=r"decoder\.onnx: not a graph of the target portable; export the bundle anew"):
        portable.decoder(SETTINGS)
    with pytest.raises(ProviderError, match=r"openvino cannot run .*: its graphs are made for the CPU"):
        load_generator(bundle, provider="openvino")
    told = load_generator(bundle, provider="openvino,cpu", threads=1)(SOURCES, max_new_tokens=5)
    assert told == load_generator(bundle, threads=1)(SOURCES, max_new_tokens=5)
