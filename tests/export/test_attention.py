"""`--with-attention`: where every new token looks in its source, as transformers has it, from both engines."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from families.case import Case
from families.cases import CASES
from families.comparing import Batch
from families.twins import SETTINGS, make_reference
from own_models import EVERY, LOOKING_BACK
from parity.injection import Healthy, Planting

from diptych.export import ExportError, export_checkpoint, verify_bundle
from diptych.export.command import export
from diptych.export.graphs import graphs
from diptych.export.torch_graph import TorchGraph
from diptych.model import architecture as arch
from diptych.model import load_checkpoint
from diptych.model.networks import EncoderDecoder, make_network
from diptych.runtime import ports
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, Graph, OrtGraph

BEAMS = 2
# A first token with no past, several with one, one with one.
CHUNKS = ((0, 1), (1, 5), (5, 6))


def make_case(name: str, **changes: Any) -> Case:
    case = next(case for case in CASES if str(case) == name)
    return replace(case, config=case.config | changes)


FAMILIES = {
    "bart": make_case("bart, generate", decoder_layers=2),
    "marian": make_case("marian, translate, two vocabularies"),
    "t5": make_case("t5, generate, as T5 1.0"),
}
Made = tuple[Any, EncoderDecoder, Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """transformers' model, ours, and the bundle that it became, each once; one of them is compared with PyTorch."""
    made: dict[str, Made] = {}

    def once(family: str) -> Made:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            reference = make_reference(FAMILIES[family])
            reference.set_attn_implementation("eager")
            reference.save_pretrained(folder / "checkpoint")
            network = load_checkpoint(folder / "checkpoint").network
            assert isinstance(network, EncoderDecoder)
            bundle = folder / "bundle"
            export_checkpoint(folder / "checkpoint", bundle, with_attention=True, verify=family == "bart")
            made[family] = reference, network, bundle
        return made[family]

    return once


def attention(encoder: Graph, decoder: Graph, source: Batch, target: Array) -> Array:
    """[R, layers, H, T, S], of target ids [R, T] in several chunks; logits of the last token of each alone."""
    encoded = encoder.run({ports.INPUT_IDS: source.ids.numpy(), ports.ATTENTION_MASK: source.mask.numpy()})
    cross = {name: encoded[ports.present_name(name)] for name in decoder.inputs if ".encoder." in name}
    past = {
        name: np.zeros((len(target), int(shape[1]), 0, int(shape[3])), dtype=np.float32)
        for name, shape in decoder.inputs.items()
        if ".decoder." in name
    }
    found = []
    for start, end in CHUNKS:
        feeds = {
            ports.INPUT_IDS: target[:, start:end],
            ports.POSITION_IDS: np.tile(np.arange(start, end), (len(target), 1)),
            ports.DECODER_ATTENTION_MASK: np.ones((len(target), end), dtype=np.int64),
            ports.ENCODER_ATTENTION_MASK: source.mask.numpy(),
            ports.NUM_LOGITS_TO_KEEP: np.array(1),
        }
        outputs = decoder.run({**feeds, **cross, **past})
        assert outputs[ports.LOGITS].shape[1] == 1
        past = {name: outputs[ports.present_name(name)] for name in past}
        found.append(outputs[ports.CROSS_ATTENTIONS])
    return np.concatenate(found, axis=3)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 9)])
@pytest.mark.parametrize("engine", ["PyTorch", "ONNX"])
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_that_of_transformers(
    family: str, engine: str, rows: int, length: int, make: Callable[[str], Made]
) -> None:
    """Several rows of each source, in order; sources padded on the right; with a past and without."""
    reference, network, bundle = make(family)
    source = Batch.draw(rows, length, "right", network.spec.encoder.embedding.vocab_size)
    target = Batch.draw(BEAMS * rows, CHUNKS[-1][1], "none", network.spec.decoder.embedding.vocab_size, 3).ids
    encoder, decoder = map(TorchGraph, graphs(network, "translate", with_attention=True))
    graph: Graph = decoder if engine == "PyTorch" else OrtGraph(bundle / ports.DECODER_FILE, SETTINGS)
    ours = attention(encoder, graph, source, target.numpy())
    with torch.no_grad():
        expected = reference(
            input_ids=source.ids.repeat_interleave(BEAMS, dim=0),
            attention_mask=source.mask.repeat_interleave(BEAMS, dim=0),
            decoder_input_ids=target,
            output_attentions=True,
        ).cross_attentions
    theirs = torch.stack(expected, dim=1).numpy()
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (BEAMS * rows, *theirs.shape[1:3], target.shape[1], length)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    hidden = np.repeat(source.mask.numpy(), BEAMS, axis=0) == 0
    assert not np.moveaxis(ours, -1, 1)[hidden].any()


def test_layers_and_heads_differ(make: Callable[[str], Made]) -> None:
    """Else the comparison could not tell one from another."""
    _, network, _ = make("bart")
    source = Batch.draw(1, 9, "none", network.spec.encoder.embedding.vocab_size)
    found = attention(*map(TorchGraph, graphs(network, "", with_attention=True)), source, np.arange(4, 10)[None])
    maps = found.reshape(-1, *found.shape[3:])
    apart = np.abs(maps[:, None] - maps[None]).max(axis=(2, 3))
    assert apart[~np.eye(len(maps), dtype=bool)].min() > 1e-2


@pytest.fixture(scope="module")
def bundle(make: Callable[[str], Made]) -> Path:
    *_, bundle = make("bart")
    return bundle


def test_the_decoder_has_one_more_output(bundle: Path) -> None:
    decoder = OrtGraph(bundle / ports.DECODER_FILE, SETTINGS)
    assert list(decoder.outputs) == [*(port.name for port in ports.decoder_outputs(2)), "cross_attentions"]
    rows, length, sources = "batch_size", "decoder_sequence_length", "encoder_sequence_length"
    assert decoder.outputs["cross_attentions"] == (rows, 2, 4, length, sources)


def test_verification_knows_of_it_from_the_bundle(bundle: Path) -> None:
    """And compares it as it does the other outputs."""
    report = verify_bundle(bundle, checkpoint=bundle.with_name("checkpoint"), threads=1)
    assert report.passed, report.failures
    assert report.tensors is not None
    (found,) = (each for each in report.tensors.outputs if each.output == ports.CROSS_ATTENTIONS)
    assert found.cases == max(each.cases for each in report.tensors.outputs)
    assert 0 < found.scale <= 1


def test_bundles_with_and_without_cannot_be_compared(bundle: Path, tmp_path: Path) -> None:
    planting = Planting(Healthy(bundle.with_name("checkpoint"), bundle))
    planting.models[ports.DECODER_FILE].graph.outputs.pop()
    without = planting.write(tmp_path / "without")
    for one, other in ((bundle, without), (without, bundle)):
        with pytest.raises(BundleError, match=f"{bundle} puts out cross_attentions, {without} does not"):
            verify_bundle(one, against=other, threads=1)
    assert verify_bundle(without, checkpoint=bundle.with_name("checkpoint"), threads=1).passed


def test_what_is_one_graph_has_none(tmp_path: Path) -> None:
    make_reference(make_case("gpt2, generate")).save_pretrained(tmp_path / "checkpoint")
    arguments = [str(tmp_path / "checkpoint"), str(tmp_path / "bundle"), "--with-attention"]
    failed = CliRunner().invoke(export, arguments)
    assert isinstance(failed.exception, ExportError)
    assert "cross_attentions: expected an encoder-decoder, found one graph, made to generate" in str(failed.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_layers_with_other_numbers_of_heads_have_none() -> None:
    panels = EVERY[0]
    assert isinstance(panels, arch.EncoderDecoder)
    layers = (LOOKING_BACK, replace(LOOKING_BACK, cross_attention=arch.Attention(2, 6)))
    network = make_network(replace(panels, decoder=replace(panels.decoder, layers=layers)))
    with pytest.raises(ExportError, match="the decoder's layers have 4, 2 heads"):
        graphs(network, "translate", with_attention=True)
    assert len(graphs(network, "translate")) == 2
