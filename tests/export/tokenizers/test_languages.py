"""Which languages a tokenizer has, and where their tokens go."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from diptych.export.errors import ExportError
from diptych.export.tokenizers import read_tokenizers
from diptych.export.tokenizers.languages import MBART, MBART50, NLLB
from diptych.runtime.languages import Languages

FAIRSEQ = "sentencepiece.bpe.model"
FEW = ["eng_Latn", "fra_Latn"]
Pieces = Callable[..., dict[str, int]]


def languages(folder: Path, family: str) -> Languages | None:
    found = read_tokenizers(folder, family, json.loads((folder / "config.json").read_text()))
    assert found is not None
    return found.languages


def ids(folder: Path, codes: list[str]) -> dict[str, int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {code: tokenizer.convert_tokens_to_ids(code) for code in codes}


def test_mbart_25_starts_with_the_target(make_folder: Any) -> None:
    folder = make_folder("mbart", {FAIRSEQ: "unigram"}, {"src_lang": "de_DE", "tgt_lang": "fr_XX"})
    assert languages(folder, "mbart") == Languages(ids(folder, MBART), "last", "start", "de_DE", "fr_XX")


def test_mbart_50_forces_the_target(make_folder: Any) -> None:
    folder = make_folder("mbart", {FAIRSEQ: "unigram"}, {"tokenizer_class": "MBart50Tokenizer"})
    assert languages(folder, "mbart") == Languages(ids(folder, MBART50), "first", "forced_bos", "en_XX", None)


def test_the_class_may_be_in_config_json(make_folder: Any) -> None:
    folder = make_folder("mbart", {FAIRSEQ: "unigram"}, tokenizer_class="MBart50Tokenizer")
    assert languages(folder, "mbart") == Languages(ids(folder, MBART50), "first", "forced_bos", "en_XX", None)


@pytest.mark.parametrize(("legacy", "place"), [(False, "first"), (True, "last")])
def test_nllb(make_folder: Any, legacy: bool, place: Any) -> None:
    settings = {"additional_special_tokens": FEW, "legacy_behaviour": legacy, "tokenizer_class": "NllbTokenizer"}
    folder = make_folder("m2m_100", {FAIRSEQ: "bpe"}, settings)
    assert languages(folder, "m2m_100") == Languages(ids(folder, FEW), place, "forced_bos", "eng_Latn", None)


@pytest.mark.parametrize("settings", [None, {"tokenizer_class": "NllbTokenizer", "extra_special_tokens": ["<new>"]}])
def test_nllb_has_its_languages_where_the_files_name_none(make_folder: Any, settings: Any) -> None:
    """Transformers gives the unknown token for each language of such a folder."""
    folder = make_folder("m2m_100", {FAIRSEQ: "bpe"}, settings)
    read = read_tokenizers(folder, "m2m_100", {})
    assert read is not None
    assert read.languages is not None
    assert list(read.languages.codes) == NLLB
    assert len(set(read.languages.codes.values()) - {read.unknown}) == len(NLLB)
    assert read.source.encode("").tokens == ["eng_Latn", "</s>"]


def test_nllb_languages_of_an_older_file(make_folder: Any) -> None:
    files = {FAIRSEQ: "bpe", "special_tokens_map.json": {"additional_special_tokens": FEW}}
    found = languages(make_folder("m2m_100", files), "m2m_100")
    assert found is not None
    assert list(found.codes) == FEW


@pytest.mark.parametrize("settings", [None, {"language_codes": "wmt21"}])
def test_m2m_100(make_folder: Any, pieces: Pieces, settings: Any) -> None:
    vocabulary = pieces(["<s>", "<pad>", "</s>", "<unk>"], ["bpe"])
    folder = make_folder("m2m_100", {FAIRSEQ: "bpe", "vocab.json": vocabulary}, settings)
    reference = AutoTokenizer.from_pretrained(folder)
    assert languages(folder, "m2m_100") == Languages(reference.lang_code_to_id, "first", "forced_bos", "en", None)
    read = read_tokenizers(folder, "m2m_100", {})
    assert read is not None
    hello = reference("Hello")["input_ids"]
    assert read.source.encode("Hello").ids == hello
    # Transformers leaves the language in the text, unless the files list it as a special token.
    assert read.source.decode(hello) == "Hello"


def test_marian_tags_the_source(make_folder: Any, pieces: Pieces) -> None:
    vocabulary = pieces(["</s>", "<unk>"], ["unigram"], [">>fra<<", ">>deu<<", "<pad>"])
    files = {"source.spm": "unigram", "target.spm": "unigram", "vocab.json": vocabulary}
    codes = {"fra": vocabulary[">>fra<<"], "deu": vocabulary[">>deu<<"]}
    folder = make_folder("marian", files, {"target_lang": "deu"})
    # A language that its settings name, transformers does not put before a text either.
    assert languages(folder, "marian") == Languages(codes, None, "source", None, None)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mbart", {"src_lang": "de_DE", "tgt_lang": "fr_XX"}),
        ("mbart", {"tokenizer_class": "MBart50Tokenizer", "src_lang": "fr_XX"}),
        ("m2m_100", {"tokenizer_class": "NllbTokenizer", "additional_special_tokens": FEW, "src_lang": "fra_Latn"}),
    ],
)
def test_tokenizer_json_says_as_much(make_folder: Any, tmp_path: Path, family: str, settings: Any) -> None:
    old = make_folder(family, {FAIRSEQ: "bpe"}, settings)
    expected = languages(old, family)
    saved = tmp_path / "saved"
    AutoTokenizer.from_pretrained(old).save_pretrained(saved)
    shutil.copy(old / "config.json", saved)
    assert languages(saved, family) == expected


def test_marian_in_tokenizer_json(make_folder: Any, pieces: Pieces) -> None:
    vocabulary = pieces(["</s>", "<unk>"], ["unigram"], [">>fra<<"])
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    folder = make_folder("marian", {"tokenizer.json": {"version": "1.0", "added_tokens": [], "model": model}})
    assert languages(folder, "marian") == Languages({"fra": vocabulary[">>fra<<"]}, None, "source", None, None)


def test_one_language_is_none(make_folder: Any) -> None:
    assert languages(make_folder("t5", {"spiece.model": "t5"}), "t5") is None


@pytest.mark.parametrize("key", ["src_lang", "tgt_lang"])
@pytest.mark.parametrize("family", ["mbart", "m2m_100"])
def test_a_language_that_is_not_there(make_folder: Any, family: str, key: str) -> None:
    folder = make_folder(family, {FAIRSEQ: "bpe"}, {key: "xx_XX"})
    with pytest.raises(ExportError, match=f"{key} is 'xx_XX'; known are"):
        read_tokenizers(folder, family, {})
