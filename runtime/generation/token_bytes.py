"""What each token of a tokenizer adds to a text, as bytes: grammars are about texts, decoders about tokens."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from diptych.runtime.errors import OptionError
from diptych.runtime.tokenizer import Tokenizer

# Decoders whose texts are their tokens' texts one after the other; WordPiece and BPE with </w> put spaces between.
_JOINING = {"ByteLevel", "Metaspace", "Sequence", "Replace", "ByteFallback", "Fuse", "Strip"}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_UNDECODABLE = "\ufffd"
_CHECKED_TOGETHER = 16


@dataclass(frozen=True)
class TokenBytes:
    """tokens: the bytes of each id; empty where it adds no text, or none that could be told exactly.

    leading_space: a text of its own begins with a space, which decoding takes out. taken_out: texts whose spaces are
    taken out after decoding, " ," say.
    """

    tokens: tuple[bytes, ...]
    leading_space: bool
    taken_out: tuple[bytes, ...]


@lru_cache(maxsize=4)
def token_bytes(tokenizer: Tokenizer, vocab_size: int) -> TokenBytes:
    """Of the ids below `vocab_size`, read off what the tokenizer decodes.

    Raises OptionError for a tokenizer whose texts are not its tokens' texts one after the other.
    """
    description = json.loads(tokenizer._tokenizer.to_str())  # noqa: SLF001
    decoders = list(_steps(description["decoder"]))
    kinds = [str(step["type"]) for step in decoders]
    if not kinds or not _JOINING.issuperset(kinds):
        raise _unsupported(f"decoder {', '.join(kinds) or 'missing'}")
    taken_out = _taken_out(decoders)
    names = _names(description)
    around = next((names_id for letter in "aeo" for names_id in _ids_of(names, letter)), None)
    letter = "" if around is None else tokenizer.decode([around])
    if around is None or tokenizer.decode([around] * 3) != letter * 3:
        raise _unsupported("it has no letters of their own")
    special = {token["id"] for token in description["added_tokens"] if token["special"]}
    found = [b""] * vocab_size
    for token, name in names.items():
        if token >= vocab_size or token in special:
            continue
        text = tokenizer.decode([around, token, around])
        if not (text.startswith(letter) and text.endswith(letter) and len(text) > 1):
            raise _unsupported(f"token {token}, {name!r}, changes its neighbours")
        inner = text[1:-1]
        if any(pattern.decode() in _spaced(name) for pattern in taken_out):
            continue
        found[token] = _raw(name, kinds) if _UNDECODABLE in inner else inner.encode()
    _check(tokenizer, found, around, taken_out)
    first = [token for token in tokenizer.encode_content(letter) if token < vocab_size]
    return TokenBytes(tuple(found), b"".join(found[token] for token in first).startswith(b" "), taken_out)


def _steps(decoder: dict[str, Any] | None) -> Any:
    """A decoder's steps, sequences taken apart."""
    if decoder is None:
        return
    if decoder["type"] == "Sequence":
        for step in decoder["decoders"]:
            yield from _steps(step)
    else:
        yield decoder


def _taken_out(decoders: list[dict[str, Any]]) -> tuple[bytes, ...]:
    """What `clean_up_tokenization_spaces` replaces in a whole text."""
    patterns = [step["pattern"].get("String", "") for step in decoders if step["type"] == "Replace"]
    return tuple(pattern.encode() for pattern in patterns if len(pattern) > 1 and pattern.startswith(" "))


def _names(description: dict[str, Any]) -> dict[int, str]:
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, dict):
        names = {token: name for name, token in vocabulary.items()}
    else:
        names = {token: piece[0] for token, piece in enumerate(vocabulary)}
    return names | {token["id"]: token["content"] for token in description["added_tokens"]}


def _ids_of(names: dict[int, str], name: str) -> list[int]:
    return [token for token, known in names.items() if known == name]


def _spaced(name: str) -> str:
    return name.replace("▁", " ")


def _raw(name: str, kinds: list[str]) -> bytes:
    """The bytes of a token that is no whole character by itself."""
    if "ByteFallback" in kinds and (match := _BYTE.fullmatch(name)):
        return bytes.fromhex(match[1])
    if "ByteLevel" in kinds and all(character in _BYTE_OF for character in name):
        return bytes(_BYTE_OF[character] for character in name)
    return name.encode()


def _byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in byte-level vocabularies (GPT-2)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _check(tokenizer: Tokenizer, found: list[bytes], around: int, taken_out: tuple[bytes, ...]) -> None:
    """Every token once, among others it did not meet before: is the text still what their bytes say?"""
    whole = [token for token, text in enumerate(found) if text and _is_text(text)]
    order = np.random.default_rng(0).permutation(np.array(whole, dtype=np.int64)).tolist()
    for start in range(0, len(order), _CHECKED_TOGETHER):
        ids = [around, *order[start : start + _CHECKED_TOGETHER], around]
        expected = b"".join(found[token] for token in ids)
        if any(pattern in expected for pattern in taken_out):
            continue
        if tokenizer.decode(ids).encode() != expected:
            raise _unsupported(f"tokens {ids} decode to {tokenizer.decode(ids)!r}, expected {expected.decode()!r}")


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unsupported(why: str) -> OptionError:
    return OptionError(
        f"grammars need a tokenizer whose texts are its tokens' texts one after the other; this bundle's is not: {why}"
    )
