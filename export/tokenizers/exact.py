"""SentencePiece itself, put together from parts of `tokenizers`: Marian and M2M100 are defined by it.

The other families are defined by such parts, and take what these do. Here three things need more: accents that are
composed by longest match only, spaces that are the text's own, and unknown text, which is looked up as a whole.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, normalizers
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import NFC, Normalizer, Precompiled, Prepend, Replace
from tokenizers.pre_tokenizers import Split

from diptych.export.tokenizers.sentencepieces import SentencePieces

# Code points that no text has, to mark places in one.
EDGE, JOINT = "\ufdd0", "\ufdd1"
NOT_ASCII = r"[^\x00-\x7f]"
JAMO = {"L": "\u1100-\u1112", "V": "\u1161-\u1175", "T": "\u11a8-\u11c2"}


def exact_tokenizer(
    pieces: SentencePieces,
    ids: Mapping[str, int],
    unknown: str,
    spelled: Mapping[str, str],
    prepared: Sequence[Normalizer] = (),
) -> Tokenizer:
    """A tokenizer that cuts text into a model's pieces and gives these the ids of a vocabulary.

    spelled: what tokens that are no pieces are called inside. prepared: what is done to a text first.
    A character without an id is unknown. A longer piece without one would be, too: text is cut into others instead.
    """
    without_text = {pieces.unknown, *pieces.control, *pieces.unused}
    scores = {piece: score for piece, score in pieces.scores if piece not in without_text}
    names = {number: spelled.get(token) or _name(token, pieces, scores) for token, number in ids.items()}
    tokenizer = Tokenizer(_bpe(pieces, names, unknown) if pieces.bpe else _unigram(pieces, names, scores, ids[unknown]))
    steps = [Replace(Regex(f"[{EDGE}{JOINT}]"), ""), *prepared, *_characters(pieces), *_spaces(pieces)]
    if any(name.startswith(EDGE) for name in names.values()) and not pieces.bpe:
        steps.append(Replace(Regex(_ends_of_unknown_text(scores)), EDGE))
    tokenizer.normalizer = normalizers.Sequence(steps)
    lost = {piece for piece in scores if len(piece) == 1 and piece not in ids}
    lost -= {character for piece in scores if piece in ids for character in piece}
    if lost:
        tokenizer.pre_tokenizer = Split(Regex(f"[{_ranges(lost)}]"), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(EDGE, ""),
            decoders.Replace("▁", " "),
            *([decoders.ByteFallback()] if pieces.byte_fallback else []),
            decoders.Fuse(),
            decoders.Replace(Regex(r"\A\s+|\s+\z"), ""),
        ]
    )
    return tokenizer


def _name(token: str, pieces: SentencePieces, scores: Mapping[str, float]) -> str:
    """A token that the model does not cut out of text is met only where a run of unknown characters is all of it."""
    if token in scores or (pieces.bpe and len(token) == 1):
        return token
    return EDGE + token + EDGE


def _unigram(pieces: SentencePieces, names: Mapping[int, str], scores: Mapping[str, float], unknown: int) -> Unigram:
    best = max(score for piece, score in scores.items() if piece not in pieces.symbols)
    symbols = {symbol: len(symbol.encode()) * best - 0.1 for symbol in pieces.symbols}  # As SentencePiece rates them.
    known = {**scores, **symbols}
    # Zero leaves the worst score, and so the cost of unknown text, as it is.
    vocabulary = [(name, known.get(name, 0.0)) for name in (names.get(i, f"{EDGE}{i}") for i in range(max(names) + 1))]
    return Unigram(vocabulary, unk_id=unknown, byte_fallback=pieces.byte_fallback)


def _bpe(pieces: SentencePieces, names: Mapping[int, str], unknown: str) -> BPE:
    ids = {name: number for number, name in names.items()}
    merges = [pair for pair in pieces.merges() if {*pair, "".join(pair)} <= ids.keys()]
    return BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=pieces.byte_fallback)


def _spaces(pieces: SentencePieces) -> list[Normalizer]:
    """Spaces become pieces. What stands before an EDGE is not text, which begins after it."""
    squeezed = [Replace(Regex(f"\\A +|(?<={EDGE}) +| +\\z"), ""), Replace(Regex(" {2,}"), " ")]
    prefixed = [
        Prepend("▁"),
        Replace(Regex(f"\\A▁(?=[^{EDGE}]*{EDGE})"), ""),
        Replace(Regex(f"(?<={EDGE})(?!\\z)"), "▁"),
    ]
    return [
        *(squeezed if pieces.squeezes_spaces else []),
        *(prefixed if pieces.dummy_prefix else []),
        Replace(" ", "▁"),
    ]


def _characters(pieces: SentencePieces) -> list[Normalizer]:
    """Replacements by the model's charsmap, whose longest match wins.

    `Precompiled` replaces single characters well, but of a cluster it drops what follows the first match: so characters
    are replaced one by one, and those that the charsmap composes are then composed, and no others.
    """
    if not pieces.charsmap:
        return []
    alone = f"(?<={NOT_ASCII})(?=[\\s\\S])|(?={NOT_ASCII})(?<=[\\s\\S])|(?<=\\r)(?=\\n)"
    steps = [Replace(Regex(alone), JOINT), Precompiled(pieces.charsmap), Replace(JOINT, "")]
    composing = _composing(pieces)
    if composing:
        apart = f"(?<=[\\s\\S])(?=[\\p{{M}}{JAMO['V']}{JAMO['T']}])(?!{'|'.join(composing)})"
        steps += [Replace(Regex(apart), JOINT), NFC(), Replace(JOINT, "")]
    return steps


def _composing(pieces: SentencePieces) -> list[str]:
    """Patterns of the places between two characters that the charsmap makes one."""

    def composes(text: str, whole: str) -> bool:
        return pieces.processor.normalize(text).removeprefix("▁") == whole

    before: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for whole in map(chr, range(0xC0, 0x12000)):
        parts = unicodedata.normalize("NFD", whole) if unicodedata.decomposition(whole)[:1] not in {"", "<"} else whole
        if len(parts) > 1 and unicodedata.normalize("NFC", parts) == whole and composes(parts, whole):
            before[parts[-1]][parts[1:-1]].add(parts[0])
    patterns = [
        f"(?={mark})(?<={'|'.join(f'[{_ranges(bases)}]{marks}' for marks, bases in found.items())})"
        for mark, found in before.items()
    ]
    if composes("\u1112\u1161\u11ab", "한"):
        patterns += [f"(?=[{JAMO['V']}])(?<=[{JAMO['L']}])", f"(?=[{JAMO['T']}])(?<=[{JAMO['L']}][{JAMO['V']}])"]
    return patterns


def _ends_of_unknown_text(scores: Iterable[str]) -> str:
    """A pattern of the places where text that is in no piece begins or ends."""
    known = _ranges({character for piece in scores for character in piece} | {EDGE})
    return f"(?<=[{known}])(?=[^{known}])|(?<=[^{known}])(?=[{known}]|\\z)"


def _ranges(characters: Iterable[str]) -> str:
    """The inside of a pattern's character class."""
    found: list[list[int]] = []
    for point in sorted(map(ord, characters)):
        if found and point == found[-1][1] + 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in found)
