"""Parity passes what is equal and catches every planted fault."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.export import ParityError
from diptych.export.graphs import decoder_graph, encoder_graph
from diptych.export.parity import CASES, ParityReport, check_parity, relative_error
from diptych.export.torch_graph import TorchGraph
from diptych.model import decoder as decoder_module
from diptych.model import load_checkpoint
from diptych.model.masks import padding_bias
from diptych.runtime.decoder import CachedDecoder, CacheState
from diptych.runtime.graph import Array, Arrays, Graph, Shape
from diptych.runtime.manifest import Manifest, SpecialTokens

MANIFEST = Manifest(
    task="translate",
    family="transformer",
    tokens=SpecialTokens(pad=0, eos=(2,), decoder_start=1),
    source_vocabulary=67,
    source_positions=64,
    target_positions=64,
)

Graphs = tuple[TorchGraph, TorchGraph]


class Altered:
    """A graph whose feeds and results pass through other hands."""

    def __init__(
        self,
        graph: Graph,
        feeds: Callable[[dict[str, Array]], Mapping[str, Array]] = lambda feeds: feeds,
        results: Callable[[dict[str, Array]], dict[str, Array]] = lambda results: results,
    ) -> None:
        self.graph, self.feeds, self.results = graph, feeds, results
        self.inputs: Mapping[str, Shape] = graph.inputs
        self.outputs: Mapping[str, Shape] = graph.outputs

    def run(self, feeds: Arrays) -> dict[str, Array]:
        return self.results(self.graph.run(self.feeds(dict(feeds))))


@pytest.fixture(scope="module")
def graphs(transformer_checkpoint: Path) -> Graphs:
    network = load_checkpoint(transformer_checkpoint).network
    return TorchGraph(encoder_graph(network)), TorchGraph(decoder_graph(network))


def check(graphs: Graphs, encoder: Graph, decoder: Graph) -> ParityReport:
    return check_parity(CachedDecoder(*graphs), CachedDecoder(encoder, decoder), MANIFEST)


def swap(values: dict[str, Array], one: str, other: str) -> dict[str, Array]:
    return values | {one: values[other], other: values[one]}


def everything_visible(feeds: dict[str, Array], mask: str) -> dict[str, Array]:
    return feeds | {mask: np.ones_like(feeds[mask])}


def shift_positions(feeds: dict[str, Array]) -> dict[str, Array]:
    """One too few, once something is cached: what counting from the mask's length can get wrong."""
    if not feeds["past_key_values.0.decoder.key"].shape[2]:
        return feeds
    return feeds | {"position_ids": np.maximum(feeds["position_ids"] - 1, 0)}


def reverse_sources(results: dict[str, Array]) -> dict[str, Array]:
    return {name: np.flip(value, 0).copy() if ".encoder." in name else value for name, value in results.items()}


def first_copy_only(feeds: dict[str, Array]) -> dict[str, Array]:
    """Every source attends to the first one's cross entries."""
    return {name: np.repeat(v[:1], len(v), 0) if ".encoder." in name else v for name, v in feeds.items()}


def spoil(results: dict[str, Array], name: str, value: float) -> dict[str, Array]:
    spoilt = results[name].copy()
    spoilt.reshape(-1)[-1] = value
    return results | {name: spoilt}


def test_equal_decoders_pass(graphs: Graphs) -> None:
    report = check(graphs, *graphs)
    assert report.passed
    assert report.worst == 0.0
    assert report.logit_error == 0.0
    assert set(report.errors) == {*graphs[0].outputs, *graphs[1].outputs}
    assert report.tokens == {
        "greedy": {"identical": 102, "near-ties": 0, "faults": 0},
        "beam 4": {"identical": 102, "near-ties": 0, "faults": 0},
    }
    report.raise_if_failed()


def test_rounding_passes(graphs: Graphs) -> None:
    """Errors of single precision, in every output of both graphs."""

    def noisy(results: dict[str, Array]) -> dict[str, Array]:
        return {name: value * np.float32(1 + 3e-7) for name, value in results.items()}

    report = check(graphs, Altered(graphs[0], results=noisy), Altered(graphs[1], results=noisy))
    assert report.passed, report.failures
    assert 0 < report.worst < 1e-5
    assert report.logit_error > 0


ENCODER_FAULTS: dict[str, Callable[[Graph], Altered]] = {
    "mask ignored": lambda g: Altered(g, feeds=lambda f: everything_visible(f, "attention_mask")),
    "cross entries of two sources swapped": lambda g: Altered(g, results=reverse_sources),
    "cross keys and values swapped": lambda g: Altered(
        g, results=lambda r: swap(r, "present.1.encoder.key", "present.1.encoder.value")
    ),
    "cross entries of two layers swapped": lambda g: Altered(
        g, results=lambda r: swap(r, "present.0.encoder.key", "present.1.encoder.key")
    ),
    "NaN": lambda g: Altered(g, results=lambda r: spoil(r, "present.1.encoder.value", np.nan)),
    "another width": lambda g: Altered(
        g, results=lambda r: r | {"last_hidden_state": r["last_hidden_state"][..., :-1]}
    ),
    "one thousandth more": lambda g: Altered(g, results=lambda r: {n: v * np.float32(1.001) for n, v in r.items()}),
}

DECODER_FAULTS: dict[str, Callable[[Graph], Altered]] = {
    "mask ignored": lambda g: Altered(g, feeds=lambda f: everything_visible(f, "decoder_attention_mask")),
    "mask of the sources ignored": lambda g: Altered(
        g, feeds=lambda f: everything_visible(f, "encoder_attention_mask")
    ),
    "positions off by one after the first step": lambda g: Altered(g, feeds=shift_positions),
    "keys and values of the past swapped": lambda g: Altered(
        g, feeds=lambda f: swap(f, "past_key_values.0.decoder.key", "past_key_values.0.decoder.value")
    ),
    "keys and values of the present swapped": lambda g: Altered(
        g, results=lambda r: swap(r, "present.1.decoder.key", "present.1.decoder.value")
    ),
    "cross entries of the first source for all": lambda g: Altered(g, feeds=first_copy_only),
    "NaN logit": lambda g: Altered(g, results=lambda r: spoil(r, "logits", np.nan)),
    "infinite logit": lambda g: Altered(g, results=lambda r: spoil(r, "logits", np.inf)),
    "past forgotten": lambda g: Altered(g, feeds=lambda f: {n: v * 0 if ".decoder." in n else v for n, v in f.items()}),
    "one logit off by a little": lambda g: Altered(
        g, results=lambda r: spoil(r, "logits", float(r["logits"].flat[-1]) + 2e-3 * float(np.abs(r["logits"]).max()))
    ),
}


@pytest.mark.parametrize("fault", ENCODER_FAULTS)
def test_faulty_encoder(fault: str, graphs: Graphs) -> None:
    assert_caught(check(graphs, ENCODER_FAULTS[fault](graphs[0]), graphs[1]))


@pytest.mark.parametrize("fault", DECODER_FAULTS)
def test_faulty_decoder(fault: str, graphs: Graphs) -> None:
    assert_caught(check(graphs, graphs[0], DECODER_FAULTS[fault](graphs[1])))


def test_no_causal_mask(graphs: Graphs) -> None:
    def no_causal_bias(mask: Tensor, length: int, dtype: torch.dtype, window: int | None = None) -> Tensor:
        return padding_bias(mask, dtype)

    plain = graphs[1]
    faulty = SimpleNamespace(inputs=plain.inputs, outputs=plain.outputs)

    def run(feeds: Arrays) -> dict[str, Array]:
        with patch.object(decoder_module, "causal_bias", no_causal_bias):
            return plain.run(feeds)

    faulty.run = run
    assert_caught(check(graphs, graphs[0], faulty))


def test_nan_on_the_torch_side(graphs: Graphs) -> None:
    spoilt = Altered(graphs[1], results=lambda r: spoil(r, "logits", np.nan))
    report = check_parity(CachedDecoder(graphs[0], spoilt), CachedDecoder(*graphs), MANIFEST)
    assert_caught(report)


class Unordered(CachedDecoder):
    """Forgets to reorder the cache: single calls are right, only a beam search goes wrong."""

    def select(self, state: CacheState, rows: Array) -> None:
        super().select(state, np.sort(rows))


def test_cache_that_is_not_reordered(graphs: Graphs) -> None:
    report = check_parity(CachedDecoder(*graphs), Unordered(*graphs), MANIFEST)
    assert report.worst == 0.0
    assert report.tokens["greedy"]["faults"] == 0
    assert report.tokens["beam 4"]["faults"] > 0
    assert_caught(report)


def assert_caught(report: ParityReport) -> None:
    assert not report.passed
    assert report.as_json()["passed"] is False
    with pytest.raises(ParityError) as caught:
        report.raise_if_failed()
    assert report.failures[0] in str(caught.value)


def test_long_lists_of_failures_are_cut() -> None:
    report = ParityReport(failures=[f"failure {number}" for number in range(25)])
    with pytest.raises(ParityError, match="and 15 more") as caught:
        report.raise_if_failed()
    assert "failure 9" in str(caught.value)
    assert "failure 10" not in str(caught.value)


def test_cases_cover_what_goes_wrong() -> None:
    assert any(case.past and case.new > 1 and case.ragged and case.rows_per_source > 1 for case in CASES)
    assert any(case.past == 0 for case in CASES)
    assert any(case.sources == case.source_length == 1 for case in CASES)
    assert {case.source_length for case in CASES}.isdisjoint({7})


def test_few_positions_leave_cases_to_compare(graphs: Graphs) -> None:
    manifest = replace(MANIFEST, source_positions=10, target_positions=6)
    report = check_parity(CachedDecoder(*graphs), CachedDecoder(*graphs), manifest)
    assert report.passed
    assert set(report.errors) == {*graphs[0].outputs, *graphs[1].outputs}


@pytest.mark.parametrize(
    ("ours", "reference", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([1.0, 2.0], [1.5, -2.0], 2.0),
        ([np.nan, 2.0], [1.0, 2.0], np.inf),
        ([np.inf, 2.0], [1.0, 2.0], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
        ([0.0], [0.0], 0.0),
    ],
)
def test_relative_error(ours: list[float], reference: list[float], expected: float) -> None:
    assert relative_error(np.array(ours), np.array(reference)) == pytest.approx(expected)


# Decoders of which everything is known: the logits follow from the first id of the source and the position alone.

VOCAB, FIRST, SECOND, NOISE = 5000, 10, 11, 1e-5
TABLE_MANIFEST = replace(MANIFEST, source_vocabulary=VOCAB)
LONE = MANIFEST.tokens.eos[0]  # The first id of the source that is nothing but an ending: parity decodes one such.
KEY, VALUE = "present.0.encoder.key", "present.0.encoder.value"


class TableEncoder:
    inputs: Mapping[str, Shape] = {"input_ids": ("B", "S"), "attention_mask": ("B", "S")}
    outputs: Mapping[str, Shape] = {"last_hidden_state": ("B", "S", 1), KEY: ("B", 1, "S", 1), VALUE: ("B", 1, "S", 1)}

    def run(self, feeds: Arrays) -> dict[str, Array]:
        ids = feeds["input_ids"].astype(np.float32)
        return {"last_hidden_state": ids[:, :, None], KEY: ids[:, None, :, None], VALUE: ids[:, None, :, None]}


class TableDecoder:
    """`lead`: by how much the logit of SECOND exceeds that of FIRST, at the first position of the lone source."""

    inputs: Mapping[str, Shape] = {
        "input_ids": ("R", "T"),
        "position_ids": ("R", "T"),
        "decoder_attention_mask": ("R", "P"),
        "encoder_attention_mask": ("B", "S"),
        "past_key_values.0.encoder.key": ("B", 1, "S", 1),
        "past_key_values.0.encoder.value": ("B", 1, "S", 1),
        "past_key_values.0.decoder.key": ("R", 1, "P", 1),
        "past_key_values.0.decoder.value": ("R", 1, "P", 1),
    }
    outputs: Mapping[str, Shape] = {
        "logits": ("R", "T", VOCAB),
        "present.0.decoder.key": ("R", 1, "P", 1),
        "present.0.decoder.value": ("R", 1, "P", 1),
    }

    def __init__(self, lead: float, noise: float) -> None:
        random = np.random.default_rng(13)
        self.table = random.normal(size=(64, VOCAB)).astype(np.float32)
        self.table[np.arange(64), random.integers(100, VOCAB, 64)] = 20.0
        self.lead = lead
        self.noise = np.where(np.arange(VOCAB) % 2, noise, -noise).astype(np.float32)

    def run(self, feeds: Arrays) -> dict[str, Array]:
        first, rows = feeds["past_key_values.0.encoder.key"][:, 0, 0, 0], len(feeds["input_ids"])
        first = np.repeat(first, rows // len(first))[:, None].astype(np.int64)
        positions = feeds["position_ids"]
        logits = self.table[(first + positions) % 64] + self.noise
        tied = (first == LONE) & (positions == 0)
        logits[tied, FIRST] = 30.0 - self.noise[1]
        logits[tied, SECOND] = 30.0 + self.lead + self.noise[1]
        new = feeds["input_ids"][:, None, :, None].astype(np.float32)
        past = feeds["past_key_values.0.decoder.key"]
        present = np.concatenate([past, new], axis=2)
        return {"logits": logits, "present.0.decoder.key": present, "present.0.decoder.value": present}


def check_tables(lead: float) -> ParityReport:
    torch_side = CachedDecoder(TableEncoder(), TableDecoder(lead, 0.0))
    return check_parity(torch_side, CachedDecoder(TableEncoder(), TableDecoder(lead, NOISE)), TABLE_MANIFEST)


def test_clear_margin_is_identical() -> None:
    report = check_tables(-1.0)
    assert report.passed, report.failures
    assert report.logit_error == pytest.approx(NOISE, rel=0.2)
    assert report.tokens["greedy"] == {"identical": 102, "near-ties": 0, "faults": 0}


def test_margin_within_the_error_is_a_near_tie() -> None:
    report = check_tables(-1e-6)
    assert report.tokens["greedy"] == {"identical": 101, "near-ties": 1, "faults": 0}
    assert report.passed, report.failures


@pytest.mark.parametrize("lead", [0.02, 0.01], ids=["another-score", "the-same-score"])
def test_margin_beyond_the_error_is_a_fault(lead: float) -> None:
    """Only that one place is wrong, by more than the errors of all others explain."""
    torch_side = CachedDecoder(TableEncoder(), TableDecoder(-0.01, 0.0))
    report = check_parity(torch_side, CachedDecoder(TableEncoder(), TableDecoder(lead, NOISE)), TABLE_MANIFEST)
    assert report.worst < 1e-5
    assert report.tokens["greedy"] == {"identical": 101, "near-ties": 0, "faults": 1}
    assert f"token 0 is {SECOND}, PyTorch's is {FIRST}" in report.failures[0]
    assert_caught(report)
