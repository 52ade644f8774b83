"""Texts that stop a result, against transformers' `StopStringCriteria`: the same token stops, with real tokenizers."""

import json
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks.checkpoints import byte_pairs, save, sentence_pieces
from tasks.texts import LINES, TEXTS
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)
from transformers.generation.stopping_criteria import StopStringCriteria

from diptych.export import export_checkpoint
from diptych.runtime import load
from diptych.runtime.generation.endings import stop_at

STRINGS = ["the", "o", "é", "lazy dog", " dog", "è", "。", "a ", "Zürich", "y d", "?", "n't", "東京", "ther", "1", " "]
END = "<|endoftext|>"
NEW_TOKENS = 24
PART = "\ufffd"


def byte_level(folder: Path) -> Any:
    """As GPT-2's: a token may be a part of a character."""
    vocabulary, merges = byte_pairs([END])
    return GPT2Tokenizer(vocab=vocabulary, merges=merges)


def metaspace(folder: Path) -> Any:
    """As T5's."""
    return _sentence_piece(folder, "spiece.model", "T5Tokenizer", "unigram", 200)


def byte_fallback(folder: Path) -> Any:
    """As LLaMA's: what is no piece is bytes."""
    return _sentence_piece(folder, "tokenizer.model", "LlamaTokenizer", "bpe", 500, byte_fallback=True)


def _sentence_piece(folder: Path, file: str, kind: str, model: str, size: int, **settings: Any) -> Any:
    sentence_pieces(folder / "trained" / file, model, size, **settings)
    (folder / "trained" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder / "trained")


@pytest.mark.parametrize("make", [byte_level, metaspace, byte_fallback])
def test_a_row_stops_at_the_same_token(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """After a special token, as rows begin; bytes that are no character are no text here."""
    theirs = make(tmp_path)
    theirs.save_pretrained(tmp_path)
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    draw, checks, hits = random.Random(0), 0, 0

    def text(ids: Sequence[int]) -> str:
        return ours.decode(ids, skip_special_tokens=False)

    for _ in range(300):
        strings = draw.sample([*STRINGS, *theirs.all_special_tokens[:2]], draw.randint(1, 3))
        try:
            criteria = StopStringCriteria(theirs, strings)
        except ValueError:  # No token could ever complete these.
            continue
        stop = stop_at(strings, text)
        ids = [theirs.all_special_ids[0], *_said(theirs, draw)]
        for length in range(2, len(ids) + 1):
            if make is byte_fallback and PART in text(ids[:length]):
                continue
            expected = bool(criteria(torch.tensor([ids[:length]]), None)[0])
            assert stop(ids[: length - 1], ids[length - 1]) == expected, (strings, text(ids[:length]))
            checks, hits = checks + 1, hits + expected
    assert checks > 500
    assert hits > 0.03 * checks


def _said(tokenizer: Any, draw: random.Random) -> list[int]:
    """A stretch of a real text, or tokens without rhyme."""
    if draw.random() < 0.5:
        return [draw.randrange(len(tokenizer)) for _ in range(draw.randint(1, 12))]
    ids = tokenizer(draw.choice(LINES + TEXTS), add_special_tokens=False).input_ids
    start = draw.randrange(max(1, len(ids) - 1))
    return ids[start : start + draw.randint(1, 12)]


@dataclass(frozen=True)
class Made:
    """A model of random weights with a tokenizer: theirs, and our bundle. given: how many ids come before a result."""

    model: Any
    tokenizer: Any
    ours: Any
    given: Callable[[list[int]], int]

    @property
    def ends(self) -> set[int]:
        return {self.model.config.eos_token_id}


def gpt2(folder: Path) -> Made:
    tokenizer = byte_level(folder)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128, eos_token_id=0)
    return _made(folder, GPT2LMHeadModel(config), tokenizer, len)


def bart(folder: Path) -> Made:
    tokenizer = metaspace(folder)
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        decoder_start_token_id=tokenizer.pad_token_id, forced_eos_token_id=None,
    )  # fmt: skip
    return _made(folder, BartForConditionalGeneration(config), tokenizer, lambda ids: 1)


def _made(folder: Path, model: Any, tokenizer: Any, given: Callable[[list[int]], int]) -> Made:
    save(folder / "checkpoint", model, tokenizer, strength=2.0)
    export_checkpoint(folder / "checkpoint", folder / "bundle", verify=False)
    return Made(model, tokenizer, load(folder / "bundle"), given)


@pytest.fixture(scope="module", params=[gpt2, bart])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return request.param(tmp_path_factory.mktemp("stops"))


@pytest.mark.parametrize(
    "strings", [["e"], ["the", "o"], ["é", "n", "。"], ["re", "an", "s", " is"], [" "], ["no such text"]], ids=str
)
@pytest.mark.parametrize("beams", [1, 3])
def test_results_are_those_of_generate(made: Made, beams: int, strings: list[str]) -> None:
    options = {"num_beams": beams, "num_return_sequences": beams, "max_new_tokens": NEW_TOKENS}
    options |= {"no_repeat_ngram_size": 1, "early_stopping": True}
    ours = made.ours.hypotheses(TEXTS, stop_strings=strings, **options)
    theirs = [_generated(made, text, stop_strings=strings, **options) for text in TEXTS]
    assert [[one.ids for one in found] for found in ours] == theirs
    early = [one for found in ours for one in found if len(one.ids) < NEW_TOKENS and one.ids[-1] not in made.ends]
    stopped = [one for one in early if any(string in made.tokenizer.decode(one.ids) for string in strings)]
    assert stopped == early
    assert len(stopped) >= 2 or strings == ["no such text"]


def _generated(made: Made, text: str, **options: Any) -> list[list[int]]:
    ids = made.tokenizer(text).input_ids
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        found = made.model.generate(
            torch.tensor([ids]), tokenizer=made.tokenizer, do_sample=False, return_dict_in_generate=True,
            output_scores=True, **options,
        )  # fmt: skip
    rows = found.sequences[:, made.given(ids) :].tolist()
    if options["num_beams"] == 1:
        return rows
    lengths = (found.beam_indices >= 0).sum(dim=1).tolist()
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]
