"""CTranslate2 is an oracle: where it is not installed, these tests are skipped."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ct2.cases import CHECKPOINT, SOURCES
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from ct2.engines import CTranslate2, Diptych


@pytest.fixture(scope="session")
def seed() -> int:
    """Of the drawn cases; DIPTYCH_CT2_SEED draws others."""
    return int(os.environ.get("DIPTYCH_CT2_SEED", "0"))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> "CTranslate2":
    pytest.importorskip("ctranslate2")
    from ct2.engines import CTranslate2

    return CTranslate2(tmp_path_factory.mktemp("ctranslate2") / "model")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with its attention."""
    pytest.importorskip("torch")
    from diptych.export import export_checkpoint

    folder = tmp_path_factory.mktemp("bundles") / "attentive"
    export_checkpoint(CHECKPOINT, folder, with_attention=True, verify=False)
    return folder


@pytest.fixture(scope="session")
def ours(bundle: Path) -> "Diptych":
    pytest.importorskip("ctranslate2")
    from ct2.engines import Diptych

    return Diptych(bundle)


@pytest.fixture(scope="session")
def logit_error(ours: "Diptych", theirs: "CTranslate2", tokenizer: Tokenizer) -> float:
    """The furthest that the engines' logits lie apart, over what greedy search sees of every source."""

    def apart(source: list[int]) -> float:
        target, expected = theirs.logits(source)
        return float(np.abs(ours.logits(source, target) - expected).max())

    return max(apart(tokenizer.encode(text).ids) for text in SOURCES)
