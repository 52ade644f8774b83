"""What each token of a tokenizer adds to a text, as bytes: grammars are about texts, decoders about tokens."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from diptych.runtime.errors import OptionError
from diptych.runtime.graph import Array
from diptych.runtime.tokenizer import Tokenizer

# Decoders that put texts one after the other. WordPiece, BPE with </w>, and no decoder at all put spaces between.
_JOINING = {"ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_UNDECODABLE = "\ufffd"
_CHECKED_TOGETHER = 16


@dataclass(frozen=True, eq=False)
class TokenBytes:
    """tokens: the bytes of each id; empty where it adds no text, or none that is always the same.

    leading_space: a text of its own begins with a space, which decoding takes out. taken_out: texts whose spaces are
    taken out after decoding, " ," say; no token has one in it.
    """

    tokens: tuple[bytes, ...]
    leading_space: bool
    taken_out: tuple[bytes, ...]

    @cached_property
    def has_text(self) -> Array:
        """[V], bool"""
        return np.array([bool(text) for text in self.tokens])

    @cached_property
    def has_space(self) -> Array:
        """[V], bool: whether a token begins with a space."""
        return np.array([text.startswith(b" ") for text in self.tokens])

    @cached_property
    def alphabet(self) -> frozenset[int]:
        return frozenset(b"".join(self.tokens))

    @cached_property
    def joints(self) -> list[tuple[bytes, Array]]:
        """What a text may end with, and the tokens [n] that would make of it something whose spaces are taken out."""
        return [
            (pattern[:cut], np.flatnonzero([text.startswith(pattern[cut:]) for text in self.tokens]))
            for pattern in self.taken_out
            for cut in range(1, len(pattern))
        ]


@lru_cache(maxsize=4)
def token_bytes(tokenizer: Tokenizer, vocab_size: int) -> TokenBytes:
    """Of the ids below `vocab_size`, as the tokenizer decodes them between two others.

    Raises OptionError for a tokenizer whose texts are not its tokens' texts one after the other.
    """
    description = tokenizer.description()
    steps = list(_steps(description["decoder"]))
    kinds = {str(step["type"]) for step in steps}
    if not kinds or not kinds <= _JOINING:
        raise _unsupported(f"its decoder is {', '.join(sorted(kinds - _JOINING)) or 'missing'}")
    taken_out = _taken_out(steps)
    names = {token: name for token, name in _names(description).items() if token < vocab_size}
    special = {token["id"] for token in description["added_tokens"] if token["special"]}
    letter = _letter(tokenizer, names)
    found = [b""] * vocab_size
    for token in names.keys() - special:
        name = names[token]
        text = tokenizer.decode([letter, token, letter])
        if len(text) < 2 or not text.startswith(names[letter]) or not text.endswith(names[letter]):
            raise _unsupported(f"token {token}, {name!r}, changes its neighbours")
        if not _is_steady(name, kinds, taken_out):
            continue
        found[token] = _raw(name, kinds) if _UNDECODABLE in text else text[1:-1].encode()
    _check(tokenizer, found, letter, taken_out)
    begun = [found[token] for token in tokenizer.encode_content(names[letter]) if token < vocab_size]
    return TokenBytes(tuple(found), b"".join(begun).startswith(b" "), tuple(map(str.encode, taken_out)))


def _steps(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A decoder's steps, sequences taken apart."""
    if decoder is not None and decoder["type"] == "Sequence":
        for step in decoder["decoders"]:
            yield from _steps(step)
    elif decoder is not None:
        yield decoder


def _taken_out(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `clean_up_tokenization_spaces` replaces in a whole text."""
    patterns = [step["pattern"].get("String", "") for step in steps if step["type"] == "Replace"]
    patterns = [pattern for pattern in patterns if len(pattern) > 1]
    for pattern in patterns:
        if not pattern.startswith(" "):
            raise _unsupported(f"its decoder replaces {pattern!r}")
    return patterns


def _names(description: Mapping[str, Any]) -> dict[int, str]:
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, dict):
        names = {token: name for name, token in vocabulary.items()}
    else:
        names = {token: piece[0] for token, piece in enumerate(vocabulary)}
    return names | {token["id"]: token["content"] for token in description["added_tokens"]}


def _letter(tokenizer: Tokenizer, names: Mapping[int, str]) -> int:
    """A token that is a letter, whatever stands beside it."""
    for token, name in names.items():
        if len(name) == 1 and name.isalpha() and tokenizer.decode([token] * 3) == name * 3:
            return token
    raise _unsupported("no token is a letter")


def _is_steady(name: str, kinds: set[str], taken_out: Sequence[str]) -> bool:
    """Whether a token's text is the same at the beginning of a text, and after clean-up."""
    spaces_inside = "Metaspace" in kinds and "▁" in name[1:]  # At the beginning all of them would be lost.
    return not spaces_inside and not any(pattern in name.replace("▁", " ") for pattern in taken_out)


def _raw(name: str, kinds: set[str]) -> bytes:
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


def _check(tokenizer: Tokenizer, found: Sequence[bytes], letter: int, taken_out: Sequence[str]) -> None:
    """Every token once more, beside others: is the text what their bytes say?"""
    whole = [token for token, text in enumerate(found) if text and _UNDECODABLE not in text.decode(errors="replace")]
    order = np.random.default_rng(0).permutation(np.array(whole, dtype=np.int64)).tolist()
    for start in range(0, len(order), _CHECKED_TOGETHER):
        ids = [letter, *order[start : start + _CHECKED_TOGETHER], letter]
        expected = b"".join(found[token] for token in ids).decode()
        if any(pattern in expected for pattern in taken_out):
            continue
        if tokenizer.decode(ids) != expected:
            raise _unsupported(f"tokens {ids} decode to {tokenizer.decode(ids)!r}, expected {expected!r}")


def _unsupported(why: str) -> OptionError:
    return OptionError(
        "grammars need a tokenizer whose texts are its tokens' texts one after the other, "
        f"and this bundle's is not so: {why}"
    )
