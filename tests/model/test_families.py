"""Every family against transformers: the networks in PyTorch, and greedy and beam search through the runtime's loop."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diptych.export.defaults import generation_defaults, special_tokens
from diptych.export.graphs import decoder_graph, encoder_graph
from diptych.export.torch_graph import TorchGraph
from diptych.model import Checkpoint, CheckpointError, load_checkpoint
from diptych.runtime import Generator
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.manifest import Manifest

Randomise = Callable[[nn.Module, int], None]

VOCAB, PAD, EOS, START = 67, 1, 2, 3
SIDES = ("encoder", "decoder")
BART_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 24,
    "max_position_embeddings": 40,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "forced_eos_token_id": EOS,
    "decoder_start_token_id": START,
    **{f"{side}_layers": layers for side, layers in zip(SIDES, (1, 2), strict=True)},
    **{f"{side}_attention_heads": heads for side, heads in zip(SIDES, (3, 4), strict=True)},
    **{f"{side}_ffn_dim": width for side, width in zip(SIDES, (40, 36), strict=True)},
}
T5_LIKE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 24,
    "d_kv": 10,
    "d_ff": 40,
    "num_heads": 3,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": START,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bart": ("Bart", {**BART_LIKE, "activation_function": "gelu"}),
    "bart, scaled, five layers": ("Bart", {**BART_LIKE, "scale_embedding": True, "decoder_layers": 5}),
    "mbart": ("MBart", {**BART_LIKE, "scale_embedding": True, "activation_function": "gelu_new"}),
    "marian": ("Marian", {**BART_LIKE, "scale_embedding": True, "activation_function": "swish"}),
    "marian, two vocabularies": (
        "Marian",
        {
            **BART_LIKE,
            "decoder_vocab_size": 59,
            "share_encoder_decoder_embeddings": False,
            "activation_function": "relu",
        },
    ),
    "pegasus": ("Pegasus", {**BART_LIKE, "scale_embedding": True, "activation_function": "relu"}),
    "t5": ("T5", {**T5_LIKE, "feed_forward_proj": "relu"}),
    "t5 1.1": ("T5", {**T5_LIKE, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("MT5", {**T5_LIKE, "feed_forward_proj": "gated-gelu", "num_layers": 5}),
}
HEADS = {"Marian": "MarianMTModel"}


@pytest.fixture(scope="module", params=CASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, randomise: Randomise
) -> tuple[Any, Checkpoint]:
    """The reference, and what we load of the folder it saves."""
    name, values = CASES[request.param]
    config = getattr(transformers, f"{name}Config")(**values)
    reference = getattr(transformers, HEADS.get(name, f"{name}ForConditionalGeneration"))(config).eval()
    randomise(reference, 7)
    if name in ("Marian", "Pegasus"):
        restore_computed_positions(reference)
    if hasattr(reference, "final_logits_bias"):
        reference.final_logits_bias.copy_(torch.linspace(-0.5, 0.5, reference.final_logits_bias.shape[-1])[None])
    folder = tmp_path_factory.mktemp("family")
    reference.save_pretrained(folder)
    return reference, load_checkpoint(folder)


def restore_computed_positions(reference: Any) -> None:
    """Computed tables are parameters there, and were filled with noise like the others."""
    for side in (reference.model.encoder, reference.model.decoder):
        with torch.no_grad():
            table = side.embed_positions.create_weight()
            side.embed_positions.weight.copy_(table)


def relative_error(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).abs().max() / expected.abs().max())


def ragged(rows: int, length: int, vocab_size: int, seed: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    ids = random.integers(4, vocab_size, (rows, length))
    mask = np.ones_like(ids)
    for row in range(1, rows):
        end = length - 2 * row
        mask[row, end:] = 0
        ids[row, end:] = PAD
    return torch.from_numpy(ids), torch.from_numpy(mask)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 9), (3, 9), (3, 31)])
def test_hidden_states_and_logits_are_those_of_transformers(
    pair: tuple[Any, Checkpoint], rows: int, length: int
) -> None:
    reference, loaded = pair
    network = loaded.network
    source, mask = ragged(rows, length, network.spec.encoder.embedding.vocab_size, length)
    target, _ = ragged(rows, 7, network.spec.decoder.embedding.vocab_size, length + 1)
    with torch.no_grad():
        expected = reference(input_ids=source, attention_mask=mask, decoder_input_ids=target)
        hidden = network.encoder(source, mask)
        cross = network.decoder.project_cross(hidden)
        attention = network.spec.decoder.layers[0].attention
        empty = torch.zeros(rows, attention.heads, 0, attention.head_dim)
        past, logits = [(empty, empty)] * len(network.spec.decoder.layers), []
        for start, end in ((0, 3), (3, 4), (4, 7)):
            positions = torch.arange(start, end).expand(rows, -1)
            step, past = network.decoder(target[:, start:end], positions, torch.ones(rows, end), past, cross, mask)
            logits.append(network.head(step))
    seen = mask != 0
    assert relative_error(hidden[seen], expected.encoder_last_hidden_state[seen]) <= 1e-5
    assert relative_error(torch.cat(logits, dim=1), expected.logits) <= 1e-5


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("rows", [1, 3])
def test_generated_ids_are_those_of_transformers(pair: tuple[Any, Checkpoint], beams: int, rows: int) -> None:
    reference, loaded = pair
    spec = loaded.network.spec
    source, mask = ragged(rows, 11, spec.encoder.embedding.vocab_size, 5)
    manifest = Manifest(
        task="translate",
        family=loaded.family,
        tokens=special_tokens(loaded, None),
        source_vocabulary=spec.encoder.embedding.vocab_size,
        source_positions=spec.encoder.embedding.longest,
        target_positions=spec.decoder.embedding.longest,
        generation=generation_defaults(loaded, spec.decoder.embedding.longest, ()),
    )
    generate = Generator(
        CachedDecoder(TorchGraph(encoder_graph(loaded.network)), TorchGraph(decoder_graph(loaded.network))), manifest
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference.generate(
            input_ids=source, attention_mask=mask, num_beams=beams, max_new_tokens=17, do_sample=False
        )
    sources = [row[seen != 0].tolist() for row, seen in zip(source, mask, strict=True)]
    found = [hypotheses[0].ids for hypotheses in generate(sources, num_beams=beams, max_new_tokens=17)]
    assert found == [ending(row[1:].tolist(), len(ids)) for row, ids in zip(expected, found, strict=True)]


def ending(row: list[int], length: int) -> list[int]:
    """A row without the padding after its end."""
    assert set(row[length:]) <= {PAD, EOS}
    return row[:length]


def test_a_saved_position_table_that_is_computed_is_passed_over(tmp_path: Path, randomise: Randomise) -> None:
    """Older Marian checkpoints store it."""
    config = transformers.MarianConfig(**CASES["marian"][1])
    reference = transformers.MarianMTModel(config)
    reference.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    table = reference.model.encoder.embed_positions.create_weight()
    names = {"model.encoder.embed_positions.weight": table, "model.decoder.embed_positions.weight": table.clone()}
    save_file(tensors | names, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path).family == "marian"


@pytest.fixture
def untied_t5(tmp_path: Path, randomise: Randomise) -> tuple[Any, Path]:
    """T5 1.1, whose head is its own, under the configuration that transformers 4 wrote."""
    reference = transformers.T5ForConditionalGeneration(transformers.T5Config(**CASES["t5 1.1"][1])).eval()
    reference.lm_head.weight = nn.Parameter(torch.empty(VOCAB, 24))
    randomise(reference, 7)
    reference.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors") | {"lm_head.weight": reference.lm_head.weight.detach()}
    save_file(tensors, tmp_path / "model.safetensors")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | {"tie_word_embeddings": False}
    config.pop("scale_decoder_outputs", None)
    path.write_text(json.dumps(config))
    return reference, tmp_path


def test_an_own_head_is_neither_tied_nor_scaled(untied_t5: tuple[Any, Path]) -> None:
    reference, folder = untied_t5
    head = load_checkpoint(folder).network.head
    assert torch.equal(head.weight, reference.lm_head.weight)
    assert not torch.equal(head.weight, reference.shared.weight)
    assert head.scale == 1.0


def test_an_own_head_must_be_in_the_file(untied_t5: tuple[Any, Path]) -> None:
    _, folder = untied_t5
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if name != "lm_head.weight"}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match=r"missing: head\.weight"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "values", [{"relative_attention_num_buckets": 1}, {"relative_attention_max_distance": 4}, {"num_decoder_layers": 0}]
)
def test_sizes_that_cannot_be_are_refused(untied_t5: tuple[Any, Path], values: dict[str, int]) -> None:
    _, folder = untied_t5
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(CheckpointError, match=next(iter(values))):
        load_checkpoint(folder)
