"""Fixtures that many tests share: tiny checkpoints, and the bundles they become.

Tracing takes seconds, so each bundle is exported once in a session; a test that wants to change one copies it first.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn

from diptych.export import export_checkpoint

Run = Callable[..., subprocess.CompletedProcess[str]]

SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]
PAD, BOS, EOS = 0, 1, 2
LETTERS = "ĠabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.?!,'-:;01"
TRANSFORMER_CONFIG: dict[str, Any] = {
    "model_type": "transformer",
    "vocab_size": len(SPECIALS) + len(LETTERS),
    "d_model": 32,
    "nhead": 4,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "dim_feedforward": 48,
    "activation": "relu",
    "norm_first": True,
    "max_position_embeddings": 64,
    "positions": "sinusoidal",
    "scale_embedding": True,
    "tie_word_embeddings": True,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": BOS,
}
GENERATION_CONFIG = {
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": BOS,
    "max_length": 40,
    "num_beams": 1,
}


def fill(module: nn.Module, seed: int) -> None:
    """Random parameters of decent size: no bias is zero, no norm is neutral, so that none can be forgotten unseen."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)
            else:
                parameter.copy_(0.2 * noise + ("norm" in name and name.endswith("weight")))


@pytest.fixture(scope="session")
def randomise() -> Callable[[nn.Module, int], None]:
    return fill


@pytest.fixture(scope="session")
def transformer_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one saves after training `torch.nn.Transformer` in half precision: pre-norm, all tied."""
    folder = tmp_path_factory.mktemp("transformer") / "checkpoint"
    folder.mkdir()
    config = TRANSFORMER_CONFIG
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*nested.*")  # Which torch tries, and norm_first rules out.
        transformer = nn.Transformer(
            d_model=config["d_model"],
            nhead=config["nhead"],
            num_encoder_layers=config["num_encoder_layers"],
            num_decoder_layers=config["num_decoder_layers"],
            dim_feedforward=config["dim_feedforward"],
            norm_first=config["norm_first"],
            batch_first=True,
        )
    embedding = nn.Embedding(config["vocab_size"], config["d_model"])
    network = nn.ModuleDict({"embedding": embedding, "transformer": transformer})
    fill(network, 1)
    save_file({name: value.half() for name, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION_CONFIG, indent=1), encoding="utf-8")
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="session")
def bart_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What transformers saves of a tiny BART: post-norm, learned positions, three heads, an odd vocabulary."""
    from transformers import BartConfig, BartForConditionalGeneration

    folder = tmp_path_factory.mktemp("bart") / "checkpoint"
    config = BartConfig(
        vocab_size=67,
        d_model=24,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=40,
        decoder_ffn_dim=36,
        max_position_embeddings=50,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=EOS,
    )
    network = BartForConditionalGeneration(config)
    fill(network, 2)
    network.final_logits_bias.copy_(torch.linspace(-0.5, 0.5, 67)[None])
    network.save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="session")
def transformer_bundle(transformer_checkpoint: Path) -> Path:
    bundle = transformer_checkpoint.parent / "bundle"
    export_checkpoint(transformer_checkpoint, bundle)
    return bundle


@pytest.fixture(scope="session")
def bart_bundle(bart_checkpoint: Path) -> Path:
    bundle = bart_checkpoint.parent / "bundle"
    export_checkpoint(bart_checkpoint, bundle)
    return bundle


@pytest.fixture(scope="session")
def diptych() -> Run:
    """Run the installed command in a process of its own, outside the repository's folder."""

    def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "diptych"), *map(str, arguments)]
        environment = os.environ | {"COLUMNS": "200"}
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def command_export(
    transformer_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, diptych: Run
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The checkpoint of `transformer_bundle` exported again: by the command, from elsewhere, to elsewhere."""
    folder = tmp_path_factory.mktemp("by-command")
    shutil.copytree(transformer_checkpoint, folder / "a copy")
    finished = diptych("export", "a copy", "made/here", cwd=folder)
    return folder / "made" / "here", finished


def write_tokenizer(path: Path) -> None:
    """One token for each letter, byte-level; the end is added to every text."""
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *LETTERS])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    tokenizer.save(str(path))
