"""Texts that no model can read are refused before any graph runs; everything else goes through whole."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as Reference
from tokenizers import decoders, models, pre_tokenizers, processors

from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.tokenizer import Tokenizer


def word_level(folder: Path) -> Path:
    """A tokenizer of four words, with an unknown token, an ending, and padding and truncation switched on."""
    vocabulary = {"<unk>": 0, "</s>": 1, "good": 2, "day": 3}
    reference = Reference(models.WordLevel(vocabulary, unk_token="<unk>"))
    reference.pre_tokenizer = pre_tokenizers.Whitespace()
    reference.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    reference.add_special_tokens(["</s>"])
    reference.enable_padding(length=20)
    reference.enable_truncation(2)
    path = folder / "tokenizer.json"
    reference.save(str(path))
    return path


def unigram(folder: Path) -> Path:
    reference = Reference(models.Unigram([("<unk>", 0.0), ("▁", -2.0), ("a", -1.0)], unk_id=0, byte_fallback=False))
    reference.pre_tokenizer = pre_tokenizers.Metaspace()
    reference.decoder = decoders.Metaspace()
    path = folder / "tokenizer.json"
    reference.save(str(path))
    return path


def test_neither_padding_nor_truncation_happens(tmp_path: Path) -> None:
    assert Tokenizer(word_level(tmp_path)).encode("good day good day") == [2, 3, 2, 3, 1]


def test_decoding_leaves_special_tokens_out(tmp_path: Path) -> None:
    assert Tokenizer(word_level(tmp_path)).decode([2, 3, 1]) == "good day"


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_text_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        Tokenizer(word_level(tmp_path)).encode(text)


@pytest.mark.parametrize("make", [word_level, unigram])
def test_a_text_of_unknown_characters_only_is_refused(make: object, tmp_path: Path) -> None:
    assert callable(make)
    with pytest.raises(InputError, match="vocabulary"):
        Tokenizer(make(tmp_path), unknown=0).encode("日本 語")


def test_one_known_word_is_enough(tmp_path: Path) -> None:
    assert Tokenizer(word_level(tmp_path), unknown=0).encode("日本 day") == [0, 3, 1]


def test_a_missing_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="load_generator"):
        Tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {}}'])
def test_a_damaged_tokenizer_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Tokenizer(path)
