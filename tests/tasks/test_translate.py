"""translate, by Marian: ids and texts equal those of `generate`, with the options of the checkpoint or of the call."""

import json
from pathlib import Path

import pytest
import torch
from tasks.checkpoints import MARIAN, Published, publish, sentence_pieces
from tasks.command import diptych, results
from tasks.generated import check
from tasks.texts import TEXTS
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
TAGS = [">>fra<<", ">>deu<<", ">>jpn_Hani<<"]


def marian(folder: Path, tags: list[str], *, separate: bool) -> Published:
    """Two SentencePiece models, and ids for the pieces of both, or two times ids."""
    source = sentence_pieces(folder / "source.spm", size=160)
    target = sentence_pieces(folder / "target.spm", size=190)
    first, last = ["</s>", "<unk>", *tags], ["<pad>"]
    pieces = [*first, *dict.fromkeys([*source[3:], *([] if separate else target[3:])]), *last]
    others = [*first, *target[3:], *last]
    files = {}
    for name, tokens in (("vocab.json", pieces), ("target_vocab.json", others)):
        files[name] = str(folder / name)
        ids = {token: number for number, token in enumerate(tokens)}
        (folder / name).write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    tokenizer = MarianTokenizer(
        str(folder / "source.spm"),
        str(folder / "target.spm"),
        files["vocab.json"],
        files["target_vocab.json"] if separate else None,
        separate_vocabs=separate,
        clean_up_tokenization_spaces=separate,
    )
    pad = (len(others) if separate else len(pieces)) - 1
    config = MarianConfig(
        vocab_size=len(pieces),
        decoder_vocab_size=len(others) if separate else len(pieces),
        share_encoder_decoder_embeddings=not separate,
        pad_token_id=pad,
        decoder_start_token_id=pad,
        **MARIAN,
    )
    model = MarianMTModel(config)
    model.final_logits_bias.copy_(torch.randn(1, pad + 1, generator=torch.Generator().manual_seed(5)))
    for name, value in {
        "num_beams": 3,
        "max_length": 24,
        "length_penalty": 0.7,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": [[pad]],
        "forced_eos_token_id": 0,
    }.items():
        setattr(model.generation_config, name, value)
    return publish(folder, model, tokenizer, strength=2.0)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return marian(tmp_path_factory.mktemp("tagged"), TAGS, separate=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Two vocabularies, and one language each."""
    return marian(tmp_path_factory.mktemp("two"), [], separate=True)


def test_options_of_the_checkpoint(two: Published) -> None:
    check(two, TEXTS, results(two.bundle, "--batch-size", "4", *TEXTS))


@pytest.mark.parametrize("beams", [1, 4])
def test_options_of_the_call(two: Published, beams: int) -> None:
    arguments = ["--num-beams", str(beams), "--max-new-tokens", "9", "--length-penalty", "1.5"]
    objects = results(two.bundle, *arguments, "--num-return-sequences", str(beams), *TEXTS)
    check(two, TEXTS, objects, num_beams=beams, max_new_tokens=9, length_penalty=1.5, num_return_sequences=beams)


def test_lines_are_the_texts(two: Published) -> None:
    finished = diptych("run", two.bundle, stdin="".join(f"{text}\n" for text in TEXTS))
    assert (finished.status, finished.stderr) == (0, "")
    assert finished.lines == [item["text"] for item in results(two.bundle, *TEXTS)]


@pytest.mark.parametrize("tag", TAGS)
def test_the_language_is_a_tag_before_the_text(tagged: Published, tag: str) -> None:
    texts = [f"{tag} {text}" for text in TEXTS]
    check(tagged, texts, results(tagged.bundle, *texts))
    untagged = results(tagged.bundle, "--target-lang", tag.strip("><"), *TEXTS)
    check(tagged, texts, untagged)
    assert untagged != results(tagged.bundle, *TEXTS)


def test_tags_that_are_none(tagged: Published) -> None:
    texts = [">>eng<< Hello!", ">>fra Hello!", "Hello! >>fra<<", ">>fra<<Hello!", ">>fra<<", " >>fra<< Hello!"]
    check(tagged, texts, results(tagged.bundle, *texts))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--target-lang", "fre"], "no language 'fre' in this model; did you mean 'fra'?"),
        (["--target-lang", "日本"], "no language '日本' in this model; it knows deu, fra, jpn_Hani"),
        (["--source-lang", "deu"], "source_lang: this model is not told the language of its source"),
    ],
    ids=["near", "far", "source"],
)
def test_a_language_that_the_model_is_not_told(tagged: Published, arguments: list[str], told: str) -> None:
    finished = diptych("run", tagged.bundle, "Hello!", *arguments)
    assert (finished.status, finished.lines) == (2, [])
    assert finished.stderr == f"Error: {told}\n"


def test_a_language_where_there_is_but_one(two: Published) -> None:
    finished = diptych("run", two.bundle, "Hello!", "--target-lang", "fra")
    assert (finished.status, finished.lines) == (2, [])
    assert "this bundle has no languages" in finished.stderr


def test_lines_that_cannot_be_read_keep_their_places(tagged: Published) -> None:
    unreadable = ["", " ".join(TEXTS * 3), "ⵜⵉⴼⵉⵏⴰⵖ"]
    finished = diptych("run", tagged.bundle, "Hello!", *unreadable, "Hello!")
    assert finished.status == 1
    assert finished.lines == [finished.lines[0], "", "", "", finished.lines[0]]
    told = finished.stderr.splitlines()
    assert "line 2: the text is empty" in told[0]
    assert "line 3: too long" in told[1]
    assert "line 4: no part of the text is in the model's vocabulary" in told[2]
