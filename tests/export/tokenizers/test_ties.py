"""Where two cuts of a text are as good, or almost: our sums of scores are exact, SentencePiece's are float32's."""

import random
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

from diptych.export.tokenizers.exact import exact_tokenizer
from diptych.export.tokenizers.sentencepieces import SentencePieces, read_sentencepieces

# Two cuts of "abc": a bc, which we take, and ab c.
EQUAL = {"▁": -2.552305, "a": -3.7, "c": -3.7, "ab": -9.1, "bc": -9.1, "b": -30.0}
NEARLY = {**EQUAL, "ab": -9.100001}


def read(path: Path) -> tuple[SentencePieces, Tokenizer]:
    pieces = read_sentencepieces(path)
    return pieces, exact_tokenizer(pieces, pieces.ids, pieces.unknown, special=())


def written(scores: Mapping[str, float], path: Path) -> Path:
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.normalizer_spec.name = "identity"
    kinds = model.SentencePiece
    for piece, score, kind in [("<unk>", 0.0, kinds.UNKNOWN), *((*item, kinds.NORMAL) for item in scores.items())]:
        model.pieces.add(piece=piece, score=score, type=kind)
    path.write_bytes(model.SerializeToString())
    return path


def lead(pieces: SentencePieces, ours: list[str], theirs: list[str]) -> Fraction:
    """By how much our cut of a text is the better one, exactly."""
    assert "".join(ours) == "".join(theirs)
    scores = {piece: Fraction(score) for piece, score in pieces.scores}
    return sum((scores[piece] for piece in ours), Fraction()) - sum(scores[piece] for piece in theirs)


def rounding(pieces: SentencePieces, *cuts: list[str]) -> float:
    """How far sums in float32 along these cuts can be from the exact ones, taken together."""
    scores = dict(pieces.scores)
    return sum(2.0**-24 * len(cut) * sum(abs(scores[piece]) for piece in cut) for cut in cuts)


@pytest.mark.parametrize("scores", [EQUAL, NEARLY], ids=["equal", "nearly"])
def test_sentencepiece_takes_either(scores: dict[str, float], tmp_path: Path) -> None:
    """What no tokenizer with exact sums can repeat, whatever its scores: in one text one word is cut in two ways."""
    pieces, tokenizer = read(written(scores, tmp_path / "ties.model"))
    text = " ".join(["abc"] * 400)
    ours, theirs = tokenizer.encode(text).tokens, pieces.processor.encode(text, out_type=str)
    assert ours == ["▁", "a", "bc"] * 400
    words = ["+".join(theirs[start : start + 3]) for start in range(0, len(theirs), 3)]
    assert set(words) == {"▁+a+bc", "▁+ab+c"}
    assert 0 <= lead(pieces, ours, theirs) <= rounding(pieces, ours, theirs)
    assert (lead(pieces, ours, theirs) > 0) == (scores is NEARLY)


def test_a_better_cut_is_taken_by_both(tmp_path: Path) -> None:
    pieces, tokenizer = read(written({**EQUAL, "ab": -9.0}, tmp_path / "better.model"))
    text = " ".join(["abc"] * 400)
    assert tokenizer.encode(text).tokens == ["▁", "ab", "c"] * 400 == pieces.processor.encode(text, out_type=str)


@pytest.mark.parametrize("kind", ["unigram", "bytes-unigram"])
def test_no_cut_is_worse(kind: str, vocabularies: dict[str, Path]) -> None:
    """Numbers have most ties: 0 and 00 are pieces, 000 is none."""
    pieces, tokenizer = read(vocabularies[kind])
    assert {"0", "00"} < pieces.ids.keys()
    assert "000" not in pieces.ids
    choose = random.Random(0)
    for _ in range(2000):
        text = " ".join(f"{choose.randrange(10**9) // 1000 * 10 ** choose.randrange(9):,}" for _ in range(5))
        ours, theirs = tokenizer.encode(text).tokens, pieces.processor.encode(text, out_type=str)
        if ours != theirs:
            assert 0 <= lead(pieces, ours, theirs) <= rounding(pieces, ours, theirs), text
