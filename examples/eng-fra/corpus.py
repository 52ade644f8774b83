"""Read the Tatoeba English-French pairs and split them so that no test sentence was ever trained on.

The file is the `fra.txt` of https://www.manythings.org/anki/ (plain, `.gz` or the downloaded `.zip`): one
`English<TAB>French` pair a line, further columns ignored. Sentences from https://tatoeba.org, CC-BY 2.0.
"""

import gzip
import hashlib
import io
import re
import unicodedata
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TEST_SENTENCES = 3000
VALID_SENTENCES = 1500

_DROPPED = dict.fromkeys(map(ord, "\u200b\u00ad\ufeff"))
_SPACE_BEFORE_MARK = re.compile(r"\s*([?!;:»])(?=\s|$|[?!])")
_SPACE_AFTER_QUOTE = re.compile(r"«\s*")


class Pair(NamedTuple):
    english: str
    french: str


class Source(NamedTuple):
    """One English sentence with every French translation the corpus has for it."""

    english: str
    references: list[str]


class Split(NamedTuple):
    train: list[Pair]
    valid: list[Source]
    test: list[Source]


def normalise(text: str) -> str:
    """NFC, straight apostrophes, no invisible characters, single plain spaces."""
    text = unicodedata.normalize("NFC", text).translate(_DROPPED).replace("\u2019", "'")
    return " ".join(text.split())


def normalise_french(text: str) -> str:
    """As `normalise`, and one plain space where French typography wants a thin or fixed one."""
    text = _SPACE_BEFORE_MARK.sub(r" \1", normalise(text))
    return " ".join(_SPACE_AFTER_QUOTE.sub("« ", text).split())


def read_pairs(path: Path) -> list[Pair]:
    pairs = []
    for number, line in enumerate(_open_text(path), 1):
        columns = line.rstrip("\n").split("\t")
        if len(columns) < 2:
            raise ValueError(f"{path}, line {number}: expected English<TAB>French, found {line[:60]!r}")
        pairs.append(Pair(normalise(columns[0]), normalise_french(columns[1])))
    return pairs


def split(pairs: list[Pair]) -> Split:
    """Divide by English sentence, case and punctuation aside: "Go." and "Go!" fall on the same side.

    The order is a hash of the sentence, so the split depends on the corpus alone, not on a random generator.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[_key(pair.english)].append(pair)
    order = sorted(groups, key=lambda key: hashlib.sha256(key.encode()).digest())
    test, valid = order[:TEST_SENTENCES], order[TEST_SENTENCES : TEST_SENTENCES + VALID_SENTENCES]
    train = order[TEST_SENTENCES + VALID_SENTENCES :]
    return Split(
        train=list(dict.fromkeys(pair for key in train for pair in groups[key])),
        valid=[_with_references(groups[key]) for key in valid],
        test=[_with_references(groups[key]) for key in test],
    )


def _key(english: str) -> str:
    return "".join(character for character in english.lower() if character.isalnum())


def _with_references(group: list[Pair]) -> Source:
    return Source(group[0].english, list(dict.fromkeys(pair.french for pair in group)))


def _open_text(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")  # type: ignore[return-value]
    if path.suffix == ".zip":
        return io.TextIOWrapper(zipfile.ZipFile(path).open("fra.txt"), encoding="utf-8")
    return path.open(encoding="utf-8")
