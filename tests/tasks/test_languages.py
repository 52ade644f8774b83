"""translate, by multilingual models: what languages are told as in transformers gives the ids that it gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.checkpoints import PAIR, Published, publish, sentence_pieces
from tasks.command import diptych, results
from tasks.generated import check
from tasks.texts import TEXTS
from transformers import (
    AutoTokenizer,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
)

IDS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
MODEL = "sentencepiece.bpe.model"


def settings(folder: Path, **values: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")


def mbart50(folder: Path) -> Published:
    """As transformers 5 saves it, from the file that it came with."""
    sentence_pieces(folder / "first" / MODEL)
    settings(folder / "first", tokenizer_class="MBart50Tokenizer", src_lang="en_XX", tgt_lang="fr_XX")
    tokenizer = MBart50Tokenizer.from_pretrained(folder / "first")
    config = MBartConfig(vocab_size=len(tokenizer), scale_embedding=True, forced_eos_token_id=2, **IDS, **PAIR)
    return publish(folder, MBartForConditionalGeneration(config), tokenizer, "--no-verify", strength=2.0)


def mbart25(folder: Path) -> Published:
    sentence_pieces(folder / "checkpoint" / MODEL)
    settings(folder / "checkpoint", tokenizer_class="MBartTokenizer", src_lang="en_XX", tgt_lang="ro_RO")
    size = len(AutoTokenizer.from_pretrained(folder / "checkpoint"))
    config = MBartConfig(vocab_size=size, forced_eos_token_id=2, **IDS, **PAIR)
    return publish(folder, MBartForConditionalGeneration(config), None, "--no-verify", strength=2.0)


def nllb(folder: Path) -> Published:
    sentence_pieces(folder / "checkpoint" / MODEL, "bpe", 300)
    codes = ["eng_Latn", "fra_Latn", "jpn_Jpan", "rus_Cyrl"]
    told = {"src_lang": "eng_Latn", "tgt_lang": None, "additional_special_tokens": codes}
    settings(folder / "checkpoint", tokenizer_class="NllbTokenizer", **told)
    size = len(AutoTokenizer.from_pretrained(folder / "checkpoint"))
    config = M2M100Config(vocab_size=size, scale_embedding=True, **IDS, **PAIR)
    return publish(folder, M2M100ForConditionalGeneration(config), None, "--no-verify", strength=2.0)


def m2m100(folder: Path) -> Published:
    """With the files that it came with, which list the languages."""
    checkpoint = folder / "checkpoint"
    pieces = sentence_pieces(checkpoint / MODEL)
    ids = {piece: number for number, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces[3:]])}
    (checkpoint / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    settings(checkpoint, tokenizer_class="M2M100Tokenizer", src_lang=None, tgt_lang=None)
    tokenizer = M2M100Tokenizer.from_pretrained(checkpoint)
    tags = {"additional_special_tokens": list(tokenizer.lang_code_to_token.values())}
    (checkpoint / "special_tokens_map.json").write_text(json.dumps(tags), encoding="utf-8")
    # As in the real ones, the matrix has some rows more than there are tokens, languages included.
    config = M2M100Config(vocab_size=tokenizer.get_lang_id("zu") + 9, **IDS, **PAIR)
    return publish(folder, M2M100ForConditionalGeneration(config), None, "--no-verify", strength=2.0)


CASES: dict[Callable[[Path], Published], tuple[str, str, str]] = {
    mbart50: ("forced_bos_token_id", "ja_XX", "ru_RU"),
    mbart25: ("decoder_start_token_id", "ja_XX", "ru_RU"),
    nllb: ("forced_bos_token_id", "jpn_Jpan", "fra_Latn"),
    m2m100: ("forced_bos_token_id", "ja", "fr"),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Published, str, str, str]:
    return request.param(tmp_path_factory.mktemp("languages")), *CASES[request.param]


def number_of(made: Published, language: str) -> int:
    spelled = f"__{language}__" if len(language) == 2 else language
    found = made.tokenizer.convert_tokens_to_ids(spelled)
    assert found != made.tokenizer.unk_token_id
    return int(found)


OPTIONS = {"num_beams": 3, "max_new_tokens": 14, "no_repeat_ngram_size": 2}
ARGUMENTS = [text for name, value in OPTIONS.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def test_languages_as_the_call_says(case: tuple[Published, str, str, str]) -> None:
    made, option, source, target = case
    languages = ["--source-lang", source, "--target-lang", target]
    objects = results(made.bundle, "--batch-size", "4", *languages, *ARGUMENTS, *TEXTS)
    made.tokenizer.src_lang = source
    check(made, TEXTS, objects, **{option: number_of(made, target)}, **OPTIONS)


def test_languages_as_the_checkpoint_says(case: tuple[Published, str, str, str]) -> None:
    made, option, _, _ = case
    config = json.loads((made.checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    made = made._replace(tokenizer=AutoTokenizer.from_pretrained(made.checkpoint))
    told = {option: number_of(made, config["tgt_lang"])} if config.get("tgt_lang") else {}
    check(made, TEXTS, results(made.bundle, *ARGUMENTS, *TEXTS), **told, **OPTIONS)


def test_a_source_language_that_is_not_there(case: tuple[Published, str, str, str]) -> None:
    made, _, source, _ = case
    finished = diptych("run", made.bundle, "--source-lang", source[:-1] + "?", "Hello!")
    assert (finished.status, finished.lines) == (2, [])
    assert f"no language {source[:-1] + '?'!r} in this model; " in finished.stderr
    assert source in finished.stderr
