"""Encoders alone for ONNX Runtime's CPU: batches that caches hold, and what the portable graphs say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families.case import VOCAB
from families.encoder_cases import ENCODERS
from families.twins import SETTINGS, make_reference
from readers import WIDTH, RowGraph, by_token, manifest, states

from diptych.export.graphs import graphs
from diptych.export.pipeline import export_checkpoint
from diptych.export.torch_graph import TorchGraph
from diptych.model import load_checkpoint
from diptych.runtime import ports
from diptych.runtime.batches import TOKENS_OF_A_CORE
from diptych.runtime.bundle import Bundle
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array
from diptych.runtime.manifest import CPU_TARGET
from diptych.runtime.tokens import Tokens

# Of one token, of many, of equal length, and more tokens than two cores take at once.
LENGTHS = [7, 1, 30, 12, 1, 40, 12, 33, *[40] * 12, 2]
CASES = {
    (case.family, case.task): case
    for case in ENCODERS
    if not case.name
    and (case.family, case.task) in {("bert", "embed"), ("roberta", "answer"), ("distilbert", "classify")}
}
Outputs = list[dict[str, Array]]
Exported = Callable[[tuple[str, str], str], Bundle]


def text(ids: list[int]) -> Tokens:
    count = len(ids)
    return Tokens(ids, [0] * count, [(0, 1)] * count, [0] * count, [0] * count)


@pytest.fixture(scope="module")
def texts() -> list[Tokens]:
    draw = np.random.default_rng(3)
    return [text(draw.integers(4, VOCAB, length).tolist()) for length in LENGTHS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder, made = tmp_path_factory.mktemp("encoders"), dict[tuple[tuple[str, str], str], Bundle]()

    def get(name: tuple[str, str], precision: str) -> Bundle:
        if (name, precision) not in made:
            target = folder / f"{'-'.join(name)}-{precision}"
            export_checkpoint(
                checkpoint(folder, name), target, task=name[1], target="cpu", precision=precision, verify=False
            )
            made[name, precision] = Bundle.open(target)
        return made[name, precision]

    return get


def checkpoint(folder: Path, name: tuple[str, str]) -> Path:
    found = folder / "-".join(name)
    if not found.exists():
        make_reference(CASES[name]).save_pretrained(found)
    return found


def every(encoder: Encoder, texts: list[Tokens], batch_size: int = 32) -> Outputs:
    """Copies, in order."""
    found = {
        number: {name: value.copy() for name, value in outputs.items()}
        for number, outputs in encoder.run(texts, batch_size)
    }
    return [found[number] for number in range(len(texts))]


def fake(target: str, threads: int = 2) -> tuple[Encoder, RowGraph]:
    graph = RowGraph(by_token(ports.LAST_HIDDEN_STATE, states, WIDTH))
    return Encoder(graph, replace(manifest("embed"), target=target), threads=threads), graph


def test_batches_are_as_large_as_caches() -> None:
    long = [text([5] * 128) for _ in range(9)]
    encoder, graph = fake(CPU_TARGET)
    assert len(every(encoder, long)) == 9
    assert graph.runs == [(4, 128), (4, 128), (1, 128)]
    encoder, graph = fake(CPU_TARGET, threads=4)
    every(encoder, long)
    assert graph.runs == [(8, 128), (1, 128)]


def test_more_cores_take_more_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    encoder, _ = fake(CPU_TARGET, threads=0)
    assert encoder.most_tokens == 3 * TOKENS_OF_A_CORE
    monkeypatch.setattr("os.cpu_count", lambda: None)
    encoder, _ = fake(CPU_TARGET, threads=0)
    assert encoder.most_tokens == TOKENS_OF_A_CORE


def test_other_targets_take_what_is_asked_for() -> None:
    encoder, graph = fake("portable")
    every(encoder, [text([5] * 128) for _ in range(9)])
    assert graph.runs == [(9, 128)]


def test_a_text_longer_than_that_is_run_alone() -> None:
    encoder, graph = fake(CPU_TARGET, threads=1)
    length = TOKENS_OF_A_CORE + 1
    found = every(encoder, [text([5] * length), text([6]), text([7] * length)])
    assert graph.runs == [(1, 1), (1, length), (1, length)]
    assert [len(outputs[ports.LAST_HIDDEN_STATE]) for outputs in found] == [length, 1, length]


def test_what_is_asked_for_may_be_less() -> None:
    encoder, graph = fake(CPU_TARGET)
    every(encoder, [text([5] * 128) for _ in range(4)], batch_size=3)
    assert graph.runs == [(3, 128), (1, 128)]


def test_no_texts_need_no_run() -> None:
    encoder, graph = fake(CPU_TARGET)
    assert every(encoder, []) == []
    assert graph.runs == []


@pytest.mark.parametrize("name", CASES, ids="-".join)
def test_ragged_texts_get_what_the_portable_graph_says_of_each(
    name: tuple[str, str], exported: Exported, texts: list[Tokens]
) -> None:
    bundle = exported(name, "fp32")
    assert bundle.manifest.target == CPU_TARGET
    network = load_checkpoint(checkpoint(bundle.folder.parent, name), name[1]).network
    portable = TorchGraph(*graphs(network, name[1]))
    expected = every(Encoder(portable, replace(bundle.manifest, target="portable")), texts, batch_size=1)
    found = every(Encoder(bundle.model(SETTINGS), bundle.manifest, threads=1), texts)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for output, value in one.items():
            np.testing.assert_allclose(value, other[output], rtol=1e-4, atol=1e-4)


def test_a_text_in_8_bits_is_the_same_in_any_batch(exported: Exported, texts: list[Tokens]) -> None:
    bundle = exported(("bert", "embed"), "int8")
    encoder = Encoder(bundle.model(SETTINGS), bundle.manifest, threads=1)
    whole = Encoder(exported(("bert", "embed"), "fp32").model(SETTINGS), bundle.manifest, threads=1)
    # Texts of one length: padding, too, changes how sums are rounded.
    alike = [each for each in texts if len(each.ids) == max(LENGTHS)]
    together, exact = every(encoder, alike), every(whole, alike)
    for one, other, near in zip(every(encoder, alike, batch_size=1), together, exact, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
            assert 0 < np.abs(value - near[name]).max() < 0.1 * np.abs(near[name]).max()
