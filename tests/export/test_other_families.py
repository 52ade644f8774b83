"""Families whose graphs differ in kind are exported for real: the export's own parity check must pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from torch import nn

from diptych.export import export_checkpoint
from diptych.export.parity import SOURCE_LENGTHS

SIZES: dict[str, Any] = {"d_model": 24, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
T5 = transformers.T5Config(
    **SIZES, vocab_size=67, d_kv=10, d_ff=40, num_heads=3, num_layers=2, num_decoder_layers=1,
    feed_forward_proj="gated-gelu",
)  # fmt: skip
BART_LIKE: dict[str, Any] = {
    **SIZES, "vocab_size": 67, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 36, "max_position_embeddings": 48,
    "scale_embedding": True, "forced_eos_token_id": 2,
}  # fmt: skip
MARIAN = transformers.MarianConfig(**BART_LIKE, decoder_vocab_size=59, share_encoder_decoder_embeddings=False)
MBART = transformers.MBartConfig(**BART_LIKE)
PEGASUS = transformers.PegasusConfig(**BART_LIKE)
CASES = {
    "t5": (transformers.T5ForConditionalGeneration, T5),
    "marian": (transformers.MarianMTModel, MARIAN),
    "mbart": (transformers.MBartForConditionalGeneration, MBART),
    "pegasus": (transformers.PegasusForConditionalGeneration, PEGASUS),
}


@pytest.mark.parametrize("family", CASES)
def test_export_passes_its_parity_check(
    family: str, tmp_path: Path, randomise: Callable[[nn.Module, int], None]
) -> None:
    head, config = CASES[family]
    reference = head(config)
    randomise(reference, 11)
    reference.save_pretrained(tmp_path / "checkpoint")
    report = export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle")
    assert report is not None
    assert report.worst <= 1e-5
    for counts in report.tokens.values():
        assert sum(counts.values()) == len(SOURCE_LENGTHS)
        assert counts["faults"] == 0
