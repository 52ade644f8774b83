"""Marian and M2M100, whose reference is SentencePiece itself: identical ids, also for text that no one writes.

Only where two cuts of a text have exactly one score may ids be others: see test_ties.
"""

import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from diptych.export.tokenizers import Tokenizers, read_tokenizers
from diptych.export.tokenizers.languages import M2M100
from diptych.export.tokenizers.sentencepieces import read_sentencepieces

FAIRSEQ = "sentencepiece.bpe.model"
TAGS = [">>fra<<", ">>deu<<", ">>zho_Hans<<", ">>a.b<<"]
# The source's model knows none of these: each is a token only where it is all of a run of unknown text.
FOREIGN = ["ß", "ßþ", "þ", "♥"]
ODD = [
    *"aeiouyAEIOUYnsdz .,-<>|09▁♥ßþ",
    *map(chr, range(0x300, 0x330)),
    *"ÀÉîõüñçệắＡＺａｉ①½™ﬁﬂ…ª²北京가각αάΐ",
    *"\u00a0\u200b\u200c\u200d\ufeff\u2009\u3000\u0344\t\n\r\x00\x01\x7f\x85\u1100\u1161\u11a8\u3131\uffa1ｶﾞ゙",
    *"שׁﬠءاٱآ\u0653ﻟﷺกำ่कख़👩🏽💻🇫🇷❤️",
]
Pieces = Callable[..., dict[str, int]]
pytestmark = pytest.mark.filterwarnings("ignore:Recommended")


def read(folder: Path, family: str) -> tuple[Any, Tokenizers]:
    ours = read_tokenizers(folder, family, {})
    assert ours is not None
    return AutoTokenizer.from_pretrained(folder), ours


def same(model: Path, found: list[int], expected: list[int]) -> bool:
    """Whether ids are the expected ones, or those of another cut of the text whose score is exactly the same."""
    if found == expected:
        return True
    pieces = read_sentencepieces(model)
    scores = dict(pieces.scores)
    tokens = {number: token for token, number in json.loads((model.parent / "vocab.json").read_text()).items()}
    cuts = [[tokens.get(number, f"<{number}>") for number in ids] for ids in (found, expected)]
    texts = {"".join(cut) for cut in cuts}
    totals = {sum(Fraction(scores.get(token, 0.0)) for token in cut) for cut in cuts}
    return not pieces.bpe and len(texts) == len(totals) == 1


def odd_texts(count: int) -> list[str]:
    choose = random.Random(0)
    return ["".join(choose.choice(ODD) for _ in range(choose.randint(1, 10))) for _ in range(count)]


@pytest.fixture(params=["unigram", "bpe"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def marian(make_folder: Any, pieces: Pieces, kind: str) -> Path:
    target = {"unigram": "target", "bpe": "target-bpe"}[kind]
    vocabulary = pieces(["</s>", "<unk>"], [kind, target], [*TAGS, *FOREIGN, "<pad>"])
    files = {"source.spm": kind, "target.spm": target, "vocab.json": vocabulary}
    folder: Path = make_folder("marian", files, {"source_lang": "en", "target_lang": "fra"})
    return folder


def test_marian(marian: Path, texts: list[str], pairs: list[tuple[str, str]]) -> None:
    reference, ours = read(marian, "marian")
    assert ours.target is not None
    for text in [*texts, *odd_texts(2000), "ß", "a ß b", "ßþ", "ßß", "þßþ♥ ♥", ">>a.b<< ß", "♥>>fra<<"]:
        expected = reference(text)["input_ids"]
        assert same(marian / "source.spm", ours.source.encode(text).ids, expected), ascii(text)
        assert ours.target.encode(text).ids == reference(text_target=text)["input_ids"], ascii(text)
        decoded = reference.decode(expected, skip_special_tokens=True)
        assert ours.target.decode(expected) == ours.source.decode(expected) == decoded, ascii(text)
    for first, second in pairs:
        assert ours.source.encode(first, second).ids == reference(first, second)["input_ids"]
    every = list(reference.decoder)
    assert ours.target.decode(every) == reference.decode(every, skip_special_tokens=True)
    assert (ours.unknown, ours.mask, ours.converted) == (1, None, True)
    names = {"tokenizer_config.json", "source.spm", "target.spm", "vocab.json"}
    assert {path.name for path in ours.files} == names


def test_a_character_without_an_id_is_unknown(marian: Path, texts: list[str]) -> None:
    vocabulary = json.loads((marian / "vocab.json").read_text())
    longer = "".join(token for token in vocabulary if len(token) > 1)
    lost = [token for token in vocabulary if len(token) == 1 and token.isalnum() and token not in longer][:4]
    assert len(lost) == 4
    kept = [token for token in vocabulary if token not in lost]
    (marian / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(kept)}))
    reference, ours = read(marian, "marian")
    for text in [
        *texts,
        lost[0],
        "".join(lost),
        f"a{lost[1]}{lost[1]} {lost[2]}",
        f"ß{lost[0]}",
        f"{lost[3]}ßþ {lost[3]}a",
    ]:
        found, expected = ours.source.encode(text).ids, reference(text)["input_ids"]
        assert same(marian / "source.spm", found, expected), ascii(text)


def test_a_tag_is_one_at_the_beginning_only(marian: Path) -> None:
    reference, ours = read(marian, "marian")
    tag = ours.source.encode(">>fra<<").ids[0]
    assert ours.source.encode(">>fra<<  It is.").ids == [tag, *ours.source.encode("It is.").ids]
    assert tag not in ours.source.encode("It >>fra<< is.").ids
    assert ours.source.encode(">>nothing<< It is.").ids == [ours.unknown, *ours.source.encode("It is.").ids]
    assert reference.convert_ids_to_tokens(tag) == ">>fra<<"


def test_one_model_for_both_languages(make_folder: Any, pieces: Pieces, kind: str, texts: list[str]) -> None:
    files = {"source.spm": kind, "target.spm": kind, "vocab.json": pieces(["</s>", "<unk>"], [kind])}
    folder = make_folder("marian", files)
    reference, ours = read(folder, "marian")
    assert ours.target is None
    assert ours.languages is None
    for text in texts:
        found, expected = ours.source.encode(text).ids, reference(text)["input_ids"]
        assert same(folder / "source.spm", found, expected), ascii(text)


def test_separate_vocabularies(make_folder: Any, pieces: Pieces, kind: str, texts: list[str]) -> None:
    first = ["</s>", "<unk>", "<pad>"]
    files = {
        "source.spm": kind,
        "target.spm": "target",
        "vocab.json": pieces(first, [kind]),
        "target_vocab.json": pieces(first, ["target"]),
    }
    folder = make_folder("marian", files, {"separate_vocabs": True})
    reference, ours = read(folder, "marian")
    assert ours.target is not None
    for text in texts:
        found, expected = ours.source.encode(text).ids, reference(text)["input_ids"]
        assert same(folder / "source.spm", found, expected), ascii(text)
        target = reference(text_target=text)["input_ids"]
        assert ours.target.encode(text).ids == target, ascii(text)
        assert ours.target.decode(target) == reference.decode(target, skip_special_tokens=True), ascii(text)


@pytest.mark.parametrize("model", ["unigram", "bpe", "bytes", "bytes-unigram", "identity"])
def test_m2m_100(model: str, make_folder: Any, pieces: Pieces, texts: list[str], pairs: list[tuple[str, str]]) -> None:
    vocabulary = pieces(["<s>", "<pad>", "</s>", "<unk>"], [model])
    special = [f"__{code}__" for code in M2M100["m2m100"]]
    settings = {"additional_special_tokens": special, "src_lang": "fr"}
    folder = make_folder("m2m_100", {FAIRSEQ: model, "vocab.json": vocabulary}, settings)
    reference, ours = read(folder, "m2m_100")
    for text in [*texts, *odd_texts(500)]:
        expected = reference(text)["input_ids"]
        assert same(folder / FAIRSEQ, ours.source.encode(text).ids, expected), ascii(text)
        assert ours.source.decode(expected) == reference.decode(expected, skip_special_tokens=True), ascii(text)
    for first, second in pairs:
        assert ours.source.encode(first, second).ids == reference(first, second)["input_ids"]


def test_added_tokens(marian: Path, texts: list[str]) -> None:
    size = len(json.loads((marian / "vocab.json").read_text()))
    (marian / "added_tokens.json").write_text(json.dumps({"<new>": size, "snew": size + 1}))
    reference, ours = read(marian, "marian")
    assert ours.source.token_to_id("snew") == size + 1
    for text in texts:
        found, expected = ours.source.encode(text).ids, reference(text)["input_ids"]
        assert same(marian / "source.spm", found, expected), ascii(text)


def test_what_is_saved_is_read_again(marian: Path, tmp_path: Path, texts: list[str]) -> None:
    """The patterns that take the place of SentencePiece are in tokenizer.json."""
    import tokenizers

    _, ours = read(marian, "marian")
    ours.source.save(str(tmp_path / "saved.json"))
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "saved.json"))
    assert [again.encode(text).ids for text in texts] == [ours.source.encode(text).ids for text in texts]
