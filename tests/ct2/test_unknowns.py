"""Unknown words replaced by what they look at, against CTranslate2; a frequent token plays the unknown one."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ct2.cases import SOURCES
from tokenizers import Tokenizer

pytest.importorskip("ctranslate2")

from ct2.engines import CTranslate2

from diptych.runtime import Generator, TextGenerator
from diptych.runtime.tokenizer import Tokenizer as BundleTokenizer

if TYPE_CHECKING:
    from ct2.engines import Diptych


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("unknown", ["Ġla", "."])
def test_texts(unknown: str, beams: int, ours: "Diptych", tokenizer: Tokenizer, bundle: Path, tmp_path: Path) -> None:
    """Compared where unknown words look at whole words: we pass over special tokens, they copy parts of characters."""
    theirs = CTranslate2(tmp_path / "model", unknown)
    manifest = ours.generator.manifest
    named = replace(manifest, tokens=replace(manifest.tokens, unknown=theirs.ids[unknown]))
    translate = TextGenerator(BundleTokenizer(bundle / "tokenizer.json"), Generator(ours.generator.decoder, named))
    sources = [tokenizer.encode(text).tokens for text in SOURCES]
    options = {"beam_size": beams, "length_penalty": 1, "return_attention": True, "max_batch_size": 1}
    plain = theirs.translator.translate_batch(sources, **options)
    results = theirs.translator.translate_batch(sources, replace_unknowns=True, **options)
    stopping = {"early_stopping": True} if beams > 1 else {}
    compared = 0
    for text, source, before, after in zip(SOURCES, sources, plain, results, strict=True):
        words, attention = before.hypotheses[0], before.attention[0]
        looks = [int(np.argmax(weights)) for word, weights in zip(words, attention, strict=True) if word == unknown]
        if not looks or not text.isascii() or not all(0 < place < len(source) - 1 for place in looks):
            continue
        expected = tokenizer.decode([theirs.ids[word] for word in after.hypotheses[0]]).strip()
        assert translate(text, num_beams=beams, replace_unknowns=True, **stopping) == expected
        compared += 1
    assert compared >= 3
