"""Rows that join, leave and go back in real networks, with positions of every kind."""

from pathlib import Path

import numpy as np
import pytest
import transformers
from families.case import VOCAB
from families.cases import CASES
from families.twins import Twins, make_reference
from mixing import Mix

# Learned, rotary, windowed and relative positions; with an encoder and without.
CHOSEN = ("gpt2, generate", "llama, generate", "gpt_neo, generate", "t5, generate, as T5 1.0", "bart, generate")


@pytest.mark.parametrize("name", CHOSEN)
def test_rows_decode_as_if_alone_whatever_happens(name: str, tmp_path: Path) -> None:
    transformers.logging.disable_progress_bar()
    case = next(case for case in CASES if str(case) == name)
    reference = make_reference(case)
    reference.save_pretrained(tmp_path / "checkpoint")
    decoder = Twins(reference, tmp_path / "checkpoint", case.task).decoder("PyTorch")
    for seed in range(3):
        mix = Mix(decoder, VOCAB, seed, longest_source=0 if decoder.encoder is None else 8)
        for _ in range(6):
            logits = mix.turn()
        expected = mix.expected()
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
