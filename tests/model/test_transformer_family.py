"""The family `transformer` computes what `torch.nn.Transformer` computes, whatever stands round it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diptych.model import load_checkpoint

Randomise = Callable[[nn.Module, int], None]
Modules = Any  # An nn.ModuleDict, whose values mypy knows too little of.

# Of nested tensors, which torch.nn.Transformer uses by itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*nested.*:UserWarning")

WIDTH, POSITIONS = 24, 16
TOLERANCE = 1e-5
LENGTHS, TARGET_LENGTHS = [7, 3, 1], [2, 6, 4]


def make_config(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "transformer",
        "source_vocab_size": 41,
        "target_vocab_size": 41,
        "d_model": WIDTH,
        "nhead": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 1,
        "dim_feedforward": 40,
        "activation": "relu",
        "norm_first": False,
        "bias": True,
        "positions": "sinusoidal",
        "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": True,
        "share_embeddings": False,
        **changes,
    }


def make_network(config: dict[str, Any], randomise: Randomise) -> Modules:
    """The modules by the names that a checkpoint gives them."""
    modules: Modules = nn.ModuleDict(
        {
            "transformer": nn.Transformer(
                d_model=WIDTH,
                nhead=config["nhead"],
                num_encoder_layers=config["num_encoder_layers"],
                num_decoder_layers=config["num_decoder_layers"],
                dim_feedforward=config["dim_feedforward"],
                activation=config["activation"],
                norm_first=config["norm_first"],
                bias=config["bias"],
                layer_norm_eps=config.get("layer_norm_eps", 1e-5),
                batch_first=True,
            )
        }
    )
    if config["share_embeddings"]:
        modules["embedding"] = nn.Embedding(config["source_vocab_size"], WIDTH)
    else:
        modules["source_embedding"] = nn.Embedding(config["source_vocab_size"], WIDTH)
        modules["target_embedding"] = nn.Embedding(config["target_vocab_size"], WIDTH)
    if config["positions"] == "learned":
        modules["source_positions"] = nn.Embedding(POSITIONS, WIDTH)
        modules["target_positions"] = nn.Embedding(POSITIONS, WIDTH)
    if not config["tie_word_embeddings"]:
        modules["head"] = nn.Linear(WIDTH, config["target_vocab_size"], bias=config.get("head_bias", False))
    randomise(modules, 3)
    return modules.eval()


def sinusoid(position: int, channel: int) -> float:
    angle = position / 10000 ** (channel // 2 * 2 / WIDTH)
    return math.cos(angle) if channel % 2 else math.sin(angle)


def embed(modules: Modules, side: str, config: dict[str, Any], ids: Tensor) -> Tensor:
    tokens = modules["embedding" if "embedding" in modules else f"{side}_embedding"](ids)
    if config.get("scale_embedding", True):
        tokens = tokens * math.sqrt(WIDTH)
    if config["positions"] == "learned":
        return tokens + modules[f"{side}_positions"].weight[: ids.shape[1]]
    return tokens + torch.tensor([[sinusoid(p, c) for c in range(WIDTH)] for p in range(ids.shape[1])])


def reference(
    modules: Modules, config: dict[str, Any], source: Tensor, mask: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The encoder's hidden state and the logits."""
    transformer, padding = modules["transformer"], mask == 0
    causal = torch.ones(target.shape[1], target.shape[1]).triu(1).bool()
    with torch.inference_mode():
        memory = transformer.encoder(embed(modules, "source", config, source), src_key_padding_mask=padding)
        embedded = embed(modules, "target", config, target)
        hidden = transformer.decoder(embedded, memory, tgt_mask=causal, memory_key_padding_mask=padding)
        if "head" in modules:
            return memory, modules["head"](hidden)
        embedding = modules["embedding" if "embedding" in modules else "target_embedding"]
        return memory, hidden @ embedding.weight.T


def ours(folder: Path, source: Tensor, mask: Tensor, target: Tensor, target_mask: Tensor) -> tuple[Tensor, Tensor]:
    network = load_checkpoint(folder).network
    attention = network.spec.decoder.layers[0].attention
    empty = torch.zeros(len(target), attention.heads, 0, attention.head_dim)
    with torch.inference_mode():
        memory = network.encoder(source, mask)
        cross = network.decoder.project_cross(memory)
        positions = torch.arange(target.shape[1]).expand_as(target)
        hidden, _ = network.decoder(target, positions, target_mask, [(empty, empty)] * len(cross), cross, mask)
        logits = network.head(hidden)
    return memory, logits


def save(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")


def mask_of(lengths: list[int]) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


def assert_equal(folder: Path, modules: Modules, config: dict[str, Any]) -> None:
    random = torch.Generator().manual_seed(4)
    mask, target_mask = mask_of(LENGTHS), mask_of(TARGET_LENGTHS)
    source = torch.randint(0, config["source_vocab_size"], mask.shape, generator=random)
    target = torch.randint(0, config["target_vocab_size"], target_mask.shape, generator=random)
    memory, logits = reference(modules, config, source, mask, target)
    our_memory, our_logits = ours(folder, source, mask, target, target_mask)
    for found, expected, kept in ((our_memory, memory, mask), (our_logits, logits, target_mask)):
        assert found.shape == expected.shape
        error = (found - expected)[kept != 0].abs().max()
        assert error <= TOLERANCE * expected[kept != 0].abs().max()


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre-norm", "post-norm"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "separate"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_equals_torch(
    norm_first: bool,
    activation: str,
    bias: bool,
    shared: bool,
    tied: bool,
    positions: str,
    tmp_path: Path,
    randomise: Randomise,
) -> None:
    config = make_config(
        norm_first=norm_first,
        activation=activation,
        bias=bias,
        tie_word_embeddings=tied,
        positions=positions,
        share_embeddings=shared,
        target_vocab_size=41 if shared else 37,
    )
    modules = make_network(config, randomise)
    save(tmp_path, config, modules.state_dict())
    assert_equal(tmp_path, modules, config)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_norm_eps": 1e-2},
        {"scale_embedding": False},
        {"head_bias": True, "tie_word_embeddings": False},
        {"num_encoder_layers": 1, "num_decoder_layers": 3},
        {"nhead": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_reach_the_network(changes: dict[str, Any], tmp_path: Path, randomise: Randomise) -> None:
    config = make_config(**changes)
    modules = make_network(config, randomise)
    save(tmp_path, config, modules.state_dict())
    assert_equal(tmp_path, modules, config)


@pytest.mark.parametrize("prefix", ["transformer.", "model.", ""])
def test_any_prefix(prefix: str, tmp_path: Path, randomise: Randomise) -> None:
    config = make_config(share_embeddings=True)
    modules = make_network(config, randomise)
    state = {f"{prefix}{name}": value for name, value in modules["transformer"].state_dict().items()}
    save(tmp_path, config, {**state, "embedding.weight": modules["embedding"].weight.detach()})
    assert_equal(tmp_path, modules, config)


def test_names_of_the_translation_tutorial(tmp_path: Path, randomise: Randomise) -> None:
    config = make_config(tie_word_embeddings=False, head_bias=True, source_vocab_size=43, target_vocab_size=37)
    modules = make_network(config, randomise)
    renamed = {
        "source_embedding": "src_tok_emb.embedding",
        "target_embedding": "tgt_tok_emb.embedding",
        "head": "generator",
    }
    state = {"positional_encoding.pos_embedding": torch.randn(POSITIONS, 1, WIDTH)}
    for name, value in modules.state_dict().items():
        first, rest = name.split(".", 1)
        state[f"{renamed.get(first, first)}.{rest}"] = value
    save(tmp_path, config, state)
    assert_equal(tmp_path, modules, config)


def test_half_precision_is_read_as_single(transformer_checkpoint: Path) -> None:
    network = load_checkpoint(transformer_checkpoint).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_shared_and_tied_are_one_tensor(transformer_checkpoint: Path) -> None:
    network = load_checkpoint(transformer_checkpoint).network
    assert network.encoder.embedding.tokens.weight is network.decoder.embedding.tokens.weight
    assert network.head.weight is network.decoder.embedding.tokens.weight
