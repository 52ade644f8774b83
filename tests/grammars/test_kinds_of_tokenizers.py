"""Decoded texts obey their grammar, whatever kind the tokenizer is; a kind that cannot be trusted so far is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from grammar_tokenizers import byte_fallback, byte_level, load, metaspace, names_of, word_pieces
from grammars.random_model import random_generator
from tokenizers import decoders

from diptych.runtime.errors import OptionError
from diptych.runtime.generation.token_bytes import token_bytes
from diptych.runtime.tokenizer import Tokenizer

pytest.importorskip("llguidance")

DEMO = Path(__file__).parents[2] / "examples" / "eng-fra" / "checkpoint" / "tokenizer.json"
LETTERS = "abcdefghijklmnopqrstuvwxyzé"
PIECES = ["▁", "▁a", "▁the", "ing", "n", "'t", "▁'", "'s", "▁.", "▁n", "▁n't", *LETTERS, *"0123456789.,!?-'\"[]"]
KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "GPT-2": lambda: byte_level("Ġthe", "the", "ing", "Ġn", "'t", "Ã©"),
    "BART with a space before": lambda: byte_level("Ġthe", "the", "ing", "Ġn", "'t", prefix_space=True),
    "LLaMA": lambda: byte_fallback(*PIECES, "{", "}", "▁▁▁"),
    "T5": lambda: metaspace(*PIECES),
    "T5 cleaned up": lambda: metaspace(*PIECES, clean_up=True),
    "demo": lambda: tokenizers.Tokenizer.from_file(str(DEMO)),
}
REGEXES = [
    "[a-z .,?!'n]{5,20}",
    "( ?[a-zé,.'0-9]){0,12}!?",
    "n't|[a-z]+( the){2}'s",
    r"[a-z]+ 'n' [a-z]{1,3} \.",
    r"(?i:yes|no)[\n ]?é*",
]


@pytest.mark.parametrize("encodes", [False, True], ids=["a prompt goes on", "a source is answered"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_decoded_text_matches_its_expression(kind: str, encodes: bool, tmp_path: Path) -> None:
    tokenizer = load(KINDS[kind](), tmp_path)
    generator = random_generator(tokenizer, encodes=encodes, max_new_tokens=60)
    sources = [tokenizer.encode_content("a" * (1 + number)) for number in range(12)]
    complete = 0
    for regex in REGEXES:
        if "cleaned" in kind and (r" \." in regex or regex.startswith("n't")):
            continue  # No such text is left by clean-up, but for its beginning.
        if "é" in regex and "(?i" in regex and "T5" in kind:
            continue  # Its vocabulary has no capital letters, and so cannot go on from some places.
        for source, (found,) in zip(sources, generator(sources, regex=regex), strict=True):
            if found.ids[-1] not in generator.manifest.tokens.eos:
                continue
            complete += 1
            if encodes:
                text = tokenizer.decode(found.ids)
                assert re.fullmatch(f" ?({regex})", text), text
            else:
                text = tokenizer.decode([*source, *found.ids])[len(tokenizer.decode(source)) :]
                assert re.fullmatch(regex, text), text
    assert complete > 20


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("T5")])
def test_any_json_can_be_spelled(kind: str, tmp_path: Path) -> None:
    tokenizer = load(KINDS[kind](), tmp_path)
    schema = {"type": "object", "properties": {"größe": {"enum": ["日本", 1.5]}}, "required": ["größe"]}
    schema["additionalProperties"] = False
    for encodes in (False, True):
        generator = random_generator(tokenizer, encodes=encodes)
        sources = [[9], [9, 8]]
        for (found,) in generator(sources, json_schema=schema):
            assert json.loads(tokenizer.decode(found.ids))["größe"] in ("日本", 1.5)


def test_a_vocabulary_without_braces_is_told_so(tmp_path: Path) -> None:
    generator = random_generator(load(metaspace(*PIECES), tmp_path), encodes=True)
    with pytest.raises(OptionError, match=r"json_schema cannot be obeyed: every text has '{'"):
        generator([[9]], json_schema={"type": "object"})
    found = generator([[9]], json_schema={"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 0}})
    assert isinstance(json.loads(generator.tokenizer.decode(found[0][0].ids)), list)  # type: ignore[union-attr]


def without_decoder() -> tokenizers.Tokenizer:
    made = byte_level("the")
    made.decoder = None
    return made


def replacing(pattern: Any, content: str) -> tokenizers.Tokenizer:
    made = metaspace("q", *LETTERS, "1", "2", "3")
    made.decoder = decoders.Sequence([decoders.Metaspace(), decoders.Fuse(), decoders.Replace(pattern, content)])
    return made


REFUSED: list[tuple[Callable[[], tokenizers.Tokenizer], str]] = [
    (lambda: word_pieces("a", "##a", "the"), "its decoder is WordPiece"),
    (lambda: word_pieces("a", "##a", "the", cleanup=False), "its decoder is WordPiece"),
    (without_decoder, "its decoder is missing"),
    (lambda: replacing("ab", "c"), "its decoder replaces 'ab'"),
    (lambda: replacing(tokenizers.Regex("qz"), "z"), "changes its neighbours"),
    (lambda: replacing(tokenizers.Regex("([1-3])[1-3a-p]"), ""), r"decode to 'q.*, expected 'q"),
    (lambda: metaspace("12", "["), "no token is a letter"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_a_tokenizer_whose_texts_are_not_its_tokens_is_refused(
    make: Callable[[], tokenizers.Tokenizer], why: str, tmp_path: Path
) -> None:
    generator = random_generator(load(make(), tmp_path), encodes=False)
    with pytest.raises(OptionError, match=f"grammars need a tokenizer whose texts .*{why}"):
        generator([[5]], regex="a+")


def test_every_token_of_the_demo_is_spelled_as_it_decodes() -> None:
    tokenizer = Tokenizer(DEMO)
    names = names_of(tokenizer)
    found = token_bytes(tokenizer, len(names))
    assert [names[token] for token, text in enumerate(found.tokens) if not text] == ["<pad>", "<s>", "</s>"]
    sentence = "«\u00a0Où est-elle\u202f?\u00a0» 日本 😀 don't"
    ids: Any = tokenizer.encode_content(sentence)
    assert b"".join(found.tokens[token] for token in ids).decode() == tokenizer.decode(ids)
    assert found.leading_space
