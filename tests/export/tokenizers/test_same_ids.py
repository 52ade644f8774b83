"""The ids, the types and the texts are those of AutoTokenizer for the same folder."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import AutoTokenizer

from diptych.export.tokenizers import Tokenizers, read_tokenizers

SPIECE = "spiece.model"
FAIRSEQ = "sentencepiece.bpe.model"
M2M_CODES = """
    af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy
    id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru
    sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
""".split()


class Case(NamedTuple):
    family: str
    files: dict[str, Any]
    settings: dict[str, Any] | None = None


def added(content: str, **said: bool) -> dict[str, Any]:
    return {
        "__type": "AddedToken",
        "content": content,
        "lstrip": said.get("lstrip", False),
        "normalized": said.get("normalized", False),
        "rstrip": said.get("rstrip", False),
        "single_word": False,
    }


BERT = {"vocab.txt": "vocab.txt"}
ROBERTA = {"vocab.json": "roberta-vocab.json", "merges.txt": "roberta-merges.txt"}
GPT2 = {"vocab.json": "gpt2-vocab.json", "merges.txt": "gpt2-merges.txt"}
GPT = {"vocab.json": "gpt-vocab.json", "merges.txt": "gpt-merges.txt"}
NLLB = {"tokenizer_class": "NllbTokenizer", "additional_special_tokens": ["eng_Latn", "fra_Latn", "deu_Latn"]}
CASES = {
    "bert": Case("bert", BERT),
    "bert cased": Case("bert", BERT, {"do_lower_case": False, "tokenizer_class": "BertTokenizerFast"}),
    "bert accents": Case("bert", BERT, {"do_lower_case": False, "strip_accents": True}),
    "bert chinese": Case("bert", BERT, {"tokenize_chinese_chars": False, "strip_accents": False}),
    "distilbert": Case("distilbert", BERT, {"tokenizer_class": "DistilBertTokenizer"}),
    "gpt2": Case("gpt2", GPT2),
    "gpt_neo": Case("gpt_neo", GPT2, {"add_prefix_space": True, "pad_token": "<pad>", "unk_token": None}),
    "opt": Case(
        "opt",
        ROBERTA,
        {
            "add_bos_token": True,
            "bos_token": added("</s>", normalized=True),
            "eos_token": added("</s>", normalized=True),
            "unk_token": added("</s>", normalized=True),
            "pad_token": added("<pad>", normalized=True),
            "tokenizer_class": "GPT2Tokenizer",
        },
    ),
    "opt bare": Case("opt", ROBERTA),
    "openai-gpt": Case("openai-gpt", GPT),
    "roberta": Case("roberta", ROBERTA),
    "roberta mask": Case("roberta", ROBERTA, {"mask_token": added("<mask>", lstrip=True), "trim_offsets": False}),
    "bart": Case("bart", ROBERTA, {"tokenizer_class": "BartTokenizer", "add_prefix_space": True}),
    "t5": Case("t5", {SPIECE: "t5"}),
    "t5 sentinels": Case("t5", {SPIECE: "t5"}, {"extra_ids": 3, "tokenizer_class": "T5Tokenizer"}),
    "t5 other ids": Case("t5", {SPIECE: "unigram"}),
    "mt5": Case("mt5", {SPIECE: "t5"}, {"extra_ids": 0, "tokenizer_class": "T5Tokenizer"}),
    "t5 symbols": Case("t5", {SPIECE: "symbols"}),
    "pegasus": Case("pegasus", {SPIECE: "t5"}),
    "pegasus masks": Case("pegasus", {SPIECE: "t5"}, {"mask_token": "<mask_2>", "mask_token_sent": "<mask_1>"}),
    "xlm-roberta": Case("xlm-roberta", {FAIRSEQ: "unigram"}),
    "xlm-roberta identity": Case("xlm-roberta", {FAIRSEQ: "identity"}, {"add_prefix_space": False}),
    "xlm-roberta bpe": Case("xlm-roberta", {FAIRSEQ: "bpe"}, {"mask_token": added("<mask>", lstrip=True)}),
    "camembert": Case("camembert", {FAIRSEQ: "unigram"}, {"tokenizer_class": "CamembertTokenizer"}),
    "mbart": Case("mbart", {FAIRSEQ: "unigram"}, {"src_lang": "fr_XX", "tgt_lang": "ro_RO"}),
    "mbart bare": Case("mbart", {FAIRSEQ: "bpe"}),
    "mbart50": Case("mbart", {FAIRSEQ: "unigram"}, {"tokenizer_class": "MBart50TokenizerFast", "src_lang": "sl_SI"}),
    "nllb": Case("m2m_100", {FAIRSEQ: "bpe"}, {**NLLB, "src_lang": "fra_Latn"}),
    "nllb legacy": Case("m2m_100", {FAIRSEQ: "unigram"}, {**NLLB, "legacy_behaviour": True}),
    "llama": Case("llama", {"tokenizer.model": "bytes"}, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}),
    "llama legacy": Case(
        "llama",
        {"tokenizer.model": "bytes"},
        {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "add_eos_token": True, "eos_token": added("</s>")},
    ),
    "llama no space": Case(
        "llama", {"tokenizer.model": "bpe"}, {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}
    ),
    "llama unigram": Case("llama", {"tokenizer.model": "unigram"}, {"tokenizer_class": "LlamaTokenizer"}),
    "llama bare": Case("llama", {"tokenizer.model": "bytes"}),
    "llama bare unigram": Case("llama", {"tokenizer.model": "unigram"}),
    "llama bare bytes": Case("llama", {"tokenizer.model": "bytes-unigram"}, {"tokenizer_class": "TokenizersBackend"}),
}


def differences(
    folder: Path, texts: list[str], pairs: list[tuple[str, str]], family: str
) -> tuple[list[Any], Any, Tokenizers]:
    reference = AutoTokenizer.from_pretrained(folder)
    ours = read_tokenizers(folder, family, json.loads((folder / "config.json").read_text()))
    assert ours is not None
    found: list[Any] = []
    for text in texts:
        expected = reference(text)["input_ids"]
        found += [(text, expected, got) for got in [ours.source.encode(text).ids] if got != expected]
        decoded = reference.decode(expected, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for tokenizer in filter(None, (ours.source, ours.target)):
            found += [(text, decoded, got) for got in [tokenizer.decode(expected)] if got != decoded]
    for first, second in pairs:
        pair = ours.source.encode(first, second)
        if reference.is_fast:  # Called with an empty second text, it sees none.
            wanted = reference.backend_tokenizer.encode(first, second)
            found += [(first, second, wanted.type_ids, pair.type_ids)] if wanted.type_ids != pair.type_ids else []
            expected = wanted.ids
        else:
            expected = reference(first, second)["input_ids"]
        found += [(first, second, expected, pair.ids)] if pair.ids != expected else []
    return found, reference, ours


@pytest.mark.parametrize("name", CASES)
def test_legacy_files(name: str, make_folder: Any, texts: list[str], pairs: list[tuple[str, str]]) -> None:
    case = CASES[name]
    folder = make_folder(case.family, case.files, case.settings)
    found, reference, ours = differences(folder, texts, pairs, case.family)
    assert not found
    assert ours.converted
    assert ours.target is None
    assert ours.mask == reference.mask_token_id
    assert {path.name for path in ours.files} == {path.name for path in folder.iterdir()} - {"config.json"}


@pytest.mark.parametrize("name", ["bert cased", "roberta", "t5", "xlm-roberta", "mbart", "mbart50", "nllb", "llama"])
def test_what_transformers_saves(
    name: str, make_folder: Any, texts: list[str], pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Both tokenizer.json as it is, and older files beside a tokenizer_config.json of transformers 5."""
    case = CASES[name]
    old = make_folder(case.family, case.files, case.settings)
    saved = tmp_path / "saved"
    AutoTokenizer.from_pretrained(old).save_pretrained(saved)
    shutil.copy(old / "config.json", saved)
    before = read_tokenizers(old, case.family, {})
    found, _, ours = differences(saved, texts, pairs, case.family)
    assert not found
    assert before is not None
    assert not ours.converted
    assert (ours.unknown, ours.mask, ours.languages) == (before.unknown, before.mask, before.languages)
    shutil.copy(saved / "tokenizer_config.json", old)
    assert not differences(old, texts, pairs, case.family)[0]


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "openai-gpt", "t5", "xlm-roberta", "mbart", "llama"])
@pytest.mark.parametrize("older", [True, False], ids=["added_tokens.json", "added_tokens_decoder"])
def test_added_tokens(name: str, older: bool, make_folder: Any, texts: list[str], pairs: list[tuple[str, str]]) -> None:
    case = CASES[name]
    folder = make_folder(case.family, case.files, case.settings)
    size = len(AutoTokenizer.from_pretrained(folder))
    if older:
        (folder / "added_tokens.json").write_text(json.dumps({"<new>": size, "snew": size + 1}))
        (folder / "special_tokens_map.json").write_text(json.dumps({"cls_token": "<new>", "sep_token": added("</s>")}))
    else:
        tokens = {str(size): added("<new>", lstrip=True, rstrip=True) | {"special": True}, str(size + 1): added("snew")}
        settings = {**(case.settings or {}), "added_tokens_decoder": tokens}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    found, _, ours = differences(folder, texts, pairs, case.family)
    assert not found
    assert (ours.source.token_to_id("<new>"), ours.source.token_to_id("snew")) == (size, size + 1)


@pytest.mark.parametrize("name", ["TokenizersBackend", "PreTrainedTokenizerFast", "SomeTokenizer", None])
def test_tokenizer_json_of_any_class_has_the_mask_of_its_family(make_folder: Any, tmp_path: Path, name: Any) -> None:
    reference = AutoTokenizer.from_pretrained(make_folder("bert", BERT))
    reference.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    read = read_tokenizers(tmp_path, "bert", {})
    assert read is not None
    assert (read.unknown, read.mask) == (reference.unk_token_id, reference.mask_token_id)
