"""A Transformer with the tensor names, and the omissions, of "Dive into Deep Learning": post-norm, no final norm."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.model import CheckpointError, load_checkpoint

Randomise = Callable[[nn.Module, int], None]
Modules = Any  # An nn.ModuleDict of nn.ModuleDicts, indexed by names.

WIDTH, HEADS, FEED_FORWARD, DEPTH, POSITIONS = 24, 4, 40, 2, 20
SOURCE_VOCAB, TARGET_VOCAB = 31, 29
CONFIG = {
    "model_type": "transformer",
    "source_vocab_size": SOURCE_VOCAB,
    "target_vocab_size": TARGET_VOCAB,
    "d_model": WIDTH,
    "nhead": HEADS,
    "num_encoder_layers": DEPTH,
    "num_decoder_layers": DEPTH,
    "dim_feedforward": FEED_FORWARD,
    "max_position_embeddings": POSITIONS,
    "attention_bias": False,
    "final_norm": False,
    "tie_word_embeddings": False,
    "head_bias": True,
}


def attention() -> nn.ModuleDict:
    return nn.ModuleDict({f"W_{letter}": nn.Linear(WIDTH, WIDTH, bias=False) for letter in "qkvo"})


def norm() -> nn.ModuleDict:
    return nn.ModuleDict({"ln": nn.LayerNorm(WIDTH)})


def feed_forward() -> nn.ModuleDict:
    return nn.ModuleDict({"dense1": nn.Linear(WIDTH, FEED_FORWARD), "dense2": nn.Linear(FEED_FORWARD, WIDTH)})


def encoder_block() -> nn.ModuleDict:
    return nn.ModuleDict({"attention": attention(), "addnorm1": norm(), "ffn": feed_forward(), "addnorm2": norm()})


def decoder_block() -> nn.ModuleDict:
    norms = {f"addnorm{place}": norm() for place in (1, 2, 3)}
    return nn.ModuleDict({"attention1": attention(), "attention2": attention(), "ffn": feed_forward(), **norms})


def stack(vocab_size: int, block: Callable[[], nn.ModuleDict]) -> nn.ModuleDict:
    blocks = nn.ModuleDict({f"block{layer}": block() for layer in range(DEPTH)})
    return nn.ModuleDict({"embedding": nn.Embedding(vocab_size, WIDTH), "blks": blocks})


@pytest.fixture
def network(randomise: Randomise) -> Modules:
    both: Modules = nn.ModuleDict(
        {"encoder": stack(SOURCE_VOCAB, encoder_block), "decoder": stack(TARGET_VOCAB, decoder_block)}
    )
    both["decoder"]["dense"] = nn.Linear(WIDTH, TARGET_VOCAB)
    randomise(both, 5)
    return both


def attend(block: Modules, queries: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
    """Head by head; queries [B, T, width], memory [B, S, width], visible [B, 1 or T, S]."""
    query, key, value = block["W_q"](queries), block["W_k"](memory), block["W_v"](memory)
    size = WIDTH // HEADS
    contexts = []
    for start in range(0, WIDTH, size):
        part = slice(start, start + size)
        scores = torch.einsum("btd,bsd->bts", query[..., part], key[..., part]) / math.sqrt(size)
        weights = scores.masked_fill(~visible, -1e6).softmax(-1)
        contexts.append(torch.einsum("bts,bsd->btd", weights, value[..., part]))
    return block["W_o"](torch.cat(contexts, dim=-1))


def feed(block: Modules, hidden: Tensor) -> Tensor:
    return block["dense2"](F.relu(block["dense1"](hidden)))


def embed(side: Modules, ids: Tensor) -> Tensor:
    angle = torch.arange(POSITIONS)[:, None] / torch.pow(10000, torch.arange(0, WIDTH, 2) / WIDTH)
    table = torch.zeros(POSITIONS, WIDTH)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
    return side["embedding"](ids) * math.sqrt(WIDTH) + table[: ids.shape[1]]


def encode(side: Modules, ids: Tensor, visible: Tensor) -> Tensor:
    hidden = embed(side, ids)
    for block in side["blks"].values():
        hidden = block["addnorm1"]["ln"](hidden + attend(block["attention"], hidden, hidden, visible))
        hidden = block["addnorm2"]["ln"](hidden + feed(block["ffn"], hidden))
    return hidden


def decode(side: Modules, ids: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
    hidden = embed(side, ids)
    causal = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()[None]
    for block in side["blks"].values():
        hidden = block["addnorm1"]["ln"](hidden + attend(block["attention1"], hidden, hidden, causal))
        hidden = block["addnorm2"]["ln"](hidden + attend(block["attention2"], hidden, memory, visible))
        hidden = block["addnorm3"]["ln"](hidden + feed(block["ffn"], hidden))
    return side["dense"](hidden)


def save(folder: Path, state: dict[str, Tensor], config: dict[str, object]) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(state, folder / "model.safetensors")


def test_equals_d2l(network: Modules, tmp_path: Path) -> None:
    tables = {f"{side}.pos_encoding.P": torch.randn(1, 1000, WIDTH) for side in ("encoder", "decoder")}
    save(tmp_path, {**network.state_dict(), **tables}, CONFIG)
    loaded = load_checkpoint(tmp_path).network

    random = torch.Generator().manual_seed(6)
    lengths, target_lengths = torch.tensor([5, 1, 9]), torch.tensor([4, 7, 2])
    mask = (torch.arange(9) < lengths[:, None]).long()
    target_mask = (torch.arange(7) < target_lengths[:, None]).long()
    source = torch.randint(0, SOURCE_VOCAB, mask.shape, generator=random)
    target = torch.randint(0, TARGET_VOCAB, target_mask.shape, generator=random)
    empty = torch.zeros(3, HEADS, 0, WIDTH // HEADS)
    with torch.inference_mode():
        memory = encode(network["encoder"], source, mask[:, None].bool())
        logits = decode(network["decoder"], target, memory, mask[:, None].bool())
        our_memory = loaded.encoder(source, mask)
        cross = loaded.decoder.project_cross(our_memory)
        positions = torch.arange(7).expand_as(target)
        hidden, _ = loaded.decoder(target, positions, target_mask, [(empty, empty)] * DEPTH, cross, mask)
        our_logits = loaded.head(hidden)
    for ours, theirs, kept in ((our_memory, memory, mask), (our_logits, logits, target_mask)):
        assert ours.shape == theirs.shape
        error = (ours - theirs)[kept != 0].abs().max()
        assert error <= 1e-5 * theirs[kept != 0].abs().max()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("attention_bias", "missing: encoder.layers.0.self_attention.query.bias"),
        ("final_norm", "missing: decoder.norm.weight"),
        ("tie_word_embeddings", "head.weight differs from decoder.embedding.tokens.weight"),
        ("head_bias", "not used: head.bias"),
    ],
)
def test_each_setting_matters(key: str, expected: str, network: Modules, tmp_path: Path) -> None:
    save(tmp_path, network.state_dict(), CONFIG | {key: not CONFIG[key]})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path)
    assert expected in str(caught.value)
