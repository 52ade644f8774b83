"""The family `bart` computes what transformers' BART computes, from every file layout it was ever saved in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration

from diptych.model import CheckpointError, load_checkpoint

Randomise = Callable[[nn.Module, int], None]

VOCAB = 53
LENGTHS, TARGET_LENGTHS = [9, 1, 4], [3, 6, 1]
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 28,
    "max_position_embeddings": 12,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def make_bart(randomise: Randomise, **changes: Any) -> BartForConditionalGeneration:
    network = BartForConditionalGeneration(BartConfig(**SIZES | changes))
    network.train(False)
    randomise(network, 7)
    network.final_logits_bias.copy_(torch.linspace(-1, 1, VOCAB)[None])
    return network


@pytest.fixture
def bart(randomise: Randomise) -> BartForConditionalGeneration:
    return make_bart(randomise)


def assert_equal(folder: Path, bart: BartForConditionalGeneration) -> None:
    random = torch.Generator().manual_seed(8)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    target_mask = (torch.arange(max(TARGET_LENGTHS)) < torch.tensor(TARGET_LENGTHS)[:, None]).long()
    source = torch.randint(3, VOCAB, mask.shape, generator=random)
    target = torch.randint(3, VOCAB, target_mask.shape, generator=random)
    network = load_checkpoint(folder).network
    attention = network.spec.decoder.layers[0].attention
    empty = torch.zeros(len(target), attention.heads, 0, attention.head_dim)
    with torch.inference_mode():
        theirs = bart(input_ids=source, attention_mask=mask, decoder_input_ids=target)
        memory = network.encoder(source, mask)
        cross = network.decoder.project_cross(memory)
        positions = torch.arange(target.shape[1]).expand_as(target)
        hidden, _ = network.decoder(target, positions, target_mask, [(empty, empty)] * len(cross), cross, mask)
        logits = network.head(hidden)
    for found, expected, kept in (
        (memory, theirs.encoder_last_hidden_state, mask),
        (logits, theirs.logits, target_mask),
    ):
        assert found.shape == expected.shape
        error = (found - expected)[kept != 0].abs().max()
        assert error <= 1e-5 * expected[kept != 0].abs().max()


def rewrite(folder: Path, state: dict[str, Tensor], name: str = "pytorch_model.bin") -> None:
    """Replace the weights; the configuration stays."""
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / name)


def with_all_copies(bart: BartForConditionalGeneration) -> dict[str, Tensor]:
    """The state dict as older versions wrote it: one matrix under four names."""
    state = {name: value.clone() for name, value in bart.state_dict().items()}
    names = ("model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
    return state | {f"{name}.weight": bart.model.shared.weight.detach().clone() for name in names}


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("activation", ["gelu", "relu", "swish"])
def test_equals_transformers(scaled: bool, activation: str, randomise: Randomise, tmp_path: Path) -> None:
    bart = make_bart(randomise, scale_embedding=scaled, activation_function=activation)
    bart.save_pretrained(tmp_path)
    assert_equal(tmp_path, bart)


def test_sharded_safetensors(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path, max_shard_size="8KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert_equal(tmp_path, bart)
    assert set(shards) < set(load_checkpoint(tmp_path).files)


def test_torch_file(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path)
    rewrite(tmp_path, bart.state_dict())
    assert_equal(tmp_path, bart)


def test_sharded_torch_files(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    weight_map = {}
    for number, (name, value) in enumerate(with_all_copies(bart).items()):
        weight_map[name] = f"pytorch_model-{number % 3}.bin"
        path = tmp_path / weight_map[name]
        torch.save((torch.load(path) if path.is_file() else {}) | {name: value}, path)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    assert_equal(tmp_path, bart)


def test_tied_copies_may_all_be_stored(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path)
    rewrite(tmp_path, with_all_copies(bart))
    assert_equal(tmp_path, bart)


@pytest.mark.parametrize(
    "name", ["lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "model.shared"]
)
def test_any_one_tied_copy_is_enough(name: str, bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path)
    copies = {
        key for key in with_all_copies(bart) if key.endswith(("shared.weight", "embed_tokens.weight", "lm_head.weight"))
    }
    state = {key: value for key, value in with_all_copies(bart).items() if key not in copies - {f"{name}.weight"}}
    rewrite(tmp_path, state)
    assert_equal(tmp_path, bart)


@pytest.mark.parametrize(
    "name", ["lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "model.shared"]
)
def test_tied_copy_that_differs(name: str, bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    bart.save_pretrained(tmp_path)
    state = with_all_copies(bart)
    state[f"{name}.weight"][7, 3] += 1e-3
    rewrite(tmp_path, state)
    with pytest.raises(CheckpointError, match="differ"):
        load_checkpoint(tmp_path)


def test_weights_without_the_wrapper(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    """Saved from the bare `BartModel`, names lack `model.`; the logits' bias is missing, which is to say zero."""
    bart.save_pretrained(tmp_path)
    state = {name.removeprefix("model."): value for name, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors")
    assert_equal(tmp_path, bart)
    del state["final_logits_bias"]
    save_file(state, tmp_path / "model.safetensors")
    bias = load_checkpoint(tmp_path).network.head.bias
    assert bias is not None
    assert not bias.any()


def test_logits_bias_of_several_rows(bart: BartForConditionalGeneration, tmp_path: Path) -> None:
    """transformers stores [1, V]; of anything else no row may be picked."""
    bart.save_pretrained(tmp_path)
    rewrite(tmp_path, bart.state_dict() | {"final_logits_bias": torch.zeros(2, VOCAB)})
    with pytest.raises(CheckpointError, match=r"misshapen: head\.bias is \[2, 53\]"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalize_before": True},
        {"add_final_layer_norm": True},
        {"normalize_embedding": False},
        {"add_bias_logits": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_layouts_that_are_not_bart(
    changes: dict[str, bool], bart: BartForConditionalGeneration, tmp_path: Path
) -> None:
    bart.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        load_checkpoint(tmp_path)
