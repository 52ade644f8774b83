"""summarise, and the checkpoint's own options, which hold where a call says nothing: T5, BART, Pegasus."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.checkpoints import PAIR, ROBERTA_SPECIALS, Published, byte_pairs, export, publish, save, sentence_pieces
from tasks.command import results
from tasks.generated import check
from tasks.texts import TEXTS
from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from diptych.runtime import load


def options(model: Any, **values: Any) -> Any:
    """A model whose generation_config.json says this."""
    for name, value in values.items():
        setattr(model.generation_config, name, value)
    return model


def t5(folder: Path) -> Published:
    """With the file that its tokenizer came with, two tokens that end a text, and sequences that are forbidden."""
    settings = {"tokenizer_class": "T5Tokenizer", "clean_up_tokenization_spaces": True}
    pieces = sentence_pieces(folder / "checkpoint" / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / "checkpoint" / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = T5Config(
        vocab_size=len(pieces) + 100, d_model=32, d_kv=10, d_ff=48, num_heads=3, num_layers=1,
        decoder_start_token_id=0, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    model = options(
        T5ForConditionalGeneration(config),
        eos_token_id=[1, pieces.index("▁a")],
        bad_words_ids=[[pieces.index("e")], [pieces.index("n"), pieces.index("a")]],
        suppress_tokens=[pieces.index("i")],
        begin_suppress_tokens=[pieces.index("▁the")],
        repetition_penalty=1.3,
        min_new_tokens=4,
        max_new_tokens=15,
    )
    return publish(folder, model, None, "--task", "summarise", strength=2.0)


def bart(folder: Path) -> Published:
    """As those that summarise news; its task is told by config.json."""
    vocabulary, merges = byte_pairs(ROBERTA_SPECIALS)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    model = options(
        BartForConditionalGeneration(BartConfig(vocab_size=len(vocabulary), **ids, **PAIR)),
        num_beams=4,
        length_penalty=2.0,
        early_stopping=True,
        no_repeat_ngram_size=3,
        forced_bos_token_id=0,
        forced_eos_token_id=2,
        min_length=12,
        max_length=26,
    )
    save(folder / "checkpoint", model, BartTokenizer(vocab=vocabulary, merges=merges), strength=2.0)
    edit(folder / "checkpoint" / "config.json", task_specific_params={"summarization": {"num_beams": 2}})
    return export(folder / "checkpoint", model)


def pegasus(folder: Path) -> Published:
    """As older versions saved it: the options are in config.json."""
    checkpoint = folder / "checkpoint"
    sentence_pieces(checkpoint / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (checkpoint / "tokenizer_config.json").write_text('{"tokenizer_class": "PegasusTokenizer"}', encoding="utf-8")
    size = len(AutoTokenizer.from_pretrained(checkpoint))
    model = PegasusForConditionalGeneration(PegasusConfig(vocab_size=size, **PAIR | {"scale_embedding": True}))
    save(checkpoint, model, strength=2.0)
    (checkpoint / "generation_config.json").unlink()
    edit(checkpoint / "config.json", num_beams=3, length_penalty=0.8, max_length=18, early_stopping="never")
    return export(checkpoint, model)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.fixture(scope="module", params=[t5, bart, pegasus])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    make: Callable[[Path], Published] = request.param
    return make(tmp_path_factory.mktemp("summarise"))


def test_options_of_the_checkpoint(made: Published) -> None:
    check(made, TEXTS, results(made.bundle, "--batch-size", "4", *TEXTS))


def test_options_of_the_call_win(made: Published) -> None:
    arguments = ["--num-beams", "2", "--max-new-tokens", "20", "--min-new-tokens", "0", "--length-penalty", "-1.0"]
    arguments += ["--early-stopping", "false", "--no-repeat-ngram-size", "0", "--repetition-penalty", "1.0"]
    objects = results(made.bundle, *arguments, "--num-return-sequences", "2", *TEXTS)
    given = {"num_beams": 2, "max_new_tokens": 20, "min_new_tokens": 0, "length_penalty": -1.0, "min_length": 0}
    given |= {"early_stopping": False, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "num_return_sequences": 2}
    check(made, TEXTS, objects, **given)


@pytest.mark.parametrize("made", [t5], indirect=True)
def test_spaces_before_punctuation_go_where_the_tokenizer_says(made: Published) -> None:
    kept = made.tokenizer("a . b , 's , . 't").input_ids
    others = [token for token in range(made.model.config.vocab_size) if token not in kept]
    objects = results(made.bundle, "--suppress-tokens", json.dumps(others), *TEXTS)
    check(made, TEXTS, objects, suppress_tokens=others)
    plain = [made.tokenizer.decode(it["ids"], True, clean_up_tokenization_spaces=False).strip() for it in objects]
    assert [it["text"] for it in objects] != plain
    summarise = load(made.bundle)
    for text in TEXTS:
        whole = summarise(text, num_beams=1, suppress_tokens=others)
        assert "".join(summarise.stream(text, suppress_tokens=others)) == whole


def test_its_task_is_to_summarise(made: Published) -> None:
    assert json.loads((made.bundle / "diptych.json").read_text(encoding="utf-8"))["task"] == "summarise"
