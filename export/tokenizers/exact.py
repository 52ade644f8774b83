"""SentencePiece itself, put together from parts of `tokenizers`: Marian and M2M100 are defined by it.

The other families are defined by such parts, and take what these do. Here three things need more: accents that are
composed by longest match only, spaces that are the text's own, and unknown text, which is looked up as a whole.

One thing no parts can give: SentencePiece adds the scores of a whole text in float32. Of two cuts that are as good, up
to that rounding, it takes either, even both in one text. Here sums are exact, so that the better cut is taken; of
equals the one with the longer last piece, which is mostly SentencePiece's too.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, normalizers
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import NFC, Normalizer, Precompiled, Prepend, Replace
from tokenizers.pre_tokenizers import Split

from diptych.export.tokenizers.sentencepieces import SentencePieces

# Code points that no text has. They mark where unknown text begins and ends, where a tag before a text ends, and
# places where characters are not to be joined, for one step or for all.
UNKNOWN, KNOWN, TEXT, APART, SEPARATE = MARKS = "\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4"
JAMO = {"L": "\u1100-\u1112", "V": "\u1161-\u1175", "T": "\u11a8-\u11c2"}


def exact_tokenizer(
    pieces: SentencePieces,
    ids: Mapping[str, int],
    unknown: str,
    special: Collection[str],
    tags: Iterable[str] = (),
    tagged: Sequence[Normalizer] = (),
) -> Tokenizer:
    """A tokenizer that cuts text into a model's pieces and gives these the ids of a vocabulary.

    special: tokens that stand for no text. tags: tokens at the beginning of a text, which `tagged` ends with TEXT.
    A character without an id is unknown. A longer piece without one should be, too: text is cut into others instead.
    """
    without_text = {pieces.unknown, *pieces.control, *pieces.unused}
    scores = {piece: score for piece, score in pieces.scores if piece not in without_text}
    characters = set().union(*scores)
    steps = [Replace(Regex(f"[{MARKS}]"), ""), *tagged, *_characters(pieces), *_spaces(pieces)]
    if not pieces.byte_fallback:
        known = _ranges({*characters, *MARKS})
        steps.append(Replace(Regex(f"(?<=[{known}])(?=[^{known}])"), UNKNOWN))
        steps.append(Replace(Regex(f"(?<=[^{known}])(?=[{known}]|\\z)"), KNOWN))
    normalizer = normalizers.Sequence(steps)
    names = {ids[tag]: normalizer.normalize_str(tag) for tag in tags}
    for token, number in ids.items():
        if token in scores or token in special:
            names[number] = token
        elif characters.isdisjoint(token):
            names[number] = UNKNOWN + token + KNOWN
        else:  # It cannot come from text.
            names.setdefault(number, APART + token)
    tokenizer = Tokenizer(_bpe(pieces, names, unknown) if pieces.bpe else _unigram(pieces, names, ids[unknown]))
    tokenizer.normalizer = normalizer
    lost = {piece for piece in scores if len(piece) == 1 and piece not in ids}
    lost -= {character for piece in scores if piece in ids for character in piece}
    alone = [f"\\A[^{TEXT}]*{TEXT}", f"{UNKNOWN}[^{KNOWN}]*{KNOWN}", *([f"[{_ranges(lost)}]"] if lost else [])]
    alone += map(re.escape, sorted(pieces.symbols, key=len, reverse=True))
    tokenizer.pre_tokenizer = Split(Regex("|".join(alone)), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(Regex(f"[{MARKS}]"), ""),
            decoders.Replace("▁", " "),
            *([decoders.ByteFallback()] if "<0x20>" in ids else []),
            decoders.Fuse(),
            decoders.Replace(Regex("\\A\\s+|\\s+\\z"), ""),
        ]
    )
    return tokenizer


def _unigram(pieces: SentencePieces, names: Mapping[int, str], unknown: int) -> Unigram:
    scores = dict(pieces.scores)
    tokens = [names.get(number, f"{APART}{number}") for number in range(max(names) + 1)]
    # Zero leaves the worst score, and so the cost of unknown text, as it is.
    return Unigram([(token, scores.get(token, 0.0)) for token in tokens], unknown, pieces.byte_fallback)


def _bpe(pieces: SentencePieces, names: Mapping[int, str], unknown: str) -> BPE:
    ids = {name: number for number, name in names.items()}
    merges = [pair for pair in pieces.merges() if {*pair, "".join(pair)} <= ids.keys()]
    # Tags and unknown text are not merged, but looked up.
    return BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=pieces.byte_fallback, ignore_merges=True)


def _spaces(pieces: SentencePieces) -> list[Normalizer]:
    """Spaces become pieces; a text begins with one, after its tag."""
    squeezed = [Replace(Regex(f"\\A +|(?<={TEXT}) +|[ ▁]+\\z"), ""), Replace(Regex(" {2,}"), " ")]
    begun = [Prepend("▁"), Replace(Regex(f"\\A▁(?=[^{TEXT}]*{TEXT})"), ""), Replace(Regex(f"(?<={TEXT})(?!\\z)"), "▁")]
    return [
        *(squeezed if pieces.squeezes_spaces else []),
        *(begun if pieces.dummy_prefix else []),
        Replace(" ", "▁"),
    ]


def _characters(pieces: SentencePieces) -> list[Normalizer]:
    """Replacements by the model's charsmap, whose longest match wins.

    `Precompiled` replaces single characters well, but of a cluster it drops what follows the first match. So characters
    are replaced one by one; those that the charsmap composes are then composed, and no others.
    """
    if not pieces.charsmap:
        return []
    between = "(?<=[^\\x00-\\x7f])(?=[\\s\\S])|(?=[^\\x00-\\x7f])(?<=[\\s\\S])|(?<=\\r)(?=\\n)"
    steps = [Replace(Regex(between), APART), Precompiled(pieces.charsmap), Replace(APART, "")]
    composing = _composing(pieces)
    if not composing:
        return steps
    changed = (
        c for c in map(chr, range(1, 0x30000)) if unicodedata.decomposition(c) or unicodedata.category(c) == "Cc"
    )
    split = _ranges(c for c in changed if len(_replaced(pieces, c)) != 1)
    beside = f"(?<=[{split}])(?=[\\s\\S])|(?=[{split}])(?<=[\\s\\S])"
    others = f"(?<=[\\s\\S])(?=[\\p{{M}}{JAMO['V']}{JAMO['T']}])(?!{'|'.join(composing)})"
    composed = [Replace(Regex(others), APART), NFC(), Replace(Regex(f"[{APART}{SEPARATE}]"), "")]
    return [Replace(Regex(beside), SEPARATE), *steps, *composed]


def _composing(pieces: SentencePieces) -> list[str]:
    """Patterns of the places between two characters that the charsmap makes one."""
    before: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for whole in map(chr, range(0xC0, 0x12000)):
        parts = unicodedata.normalize("NFD", whole)
        composes = len(parts) > 1 and unicodedata.normalize("NFC", parts) == whole
        if composes and not "가" <= whole <= "힣" and _replaced(pieces, parts) == whole:
            before[parts[-1]][parts[1:-1]].add(parts[0])
    patterns = [
        f"(?={mark})(?<={'|'.join(f'[{_ranges(bases)}]{marks}' for marks, bases in found.items())})"
        for mark, found in before.items()
    ]
    if _replaced(pieces, "\u1112\u1161\u11ab") == "한":
        patterns += [f"(?=[{JAMO['V']}])(?<=[{JAMO['L']}])", f"(?=[{JAMO['T']}])(?<=[{JAMO['L']}][{JAMO['V']}])"]
    return patterns


def _replaced(pieces: SentencePieces, text: str) -> str:
    """A text as SentencePiece replaces its characters."""
    return pieces.processor.normalize(text).removeprefix("▁")


def _ranges(characters: Iterable[str]) -> str:
    """The inside of a pattern's character class."""
    found: list[list[int]] = []
    for point in sorted(map(ord, characters)):
        if found and point == found[-1][1] + 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in found)
