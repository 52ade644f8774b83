"""Tokenizers of a few words, and graphs that say of each row what a function says of it alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Reference

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array, Arrays, Shape
from diptych.runtime.manifest import Labels, Manifest, Pooling, SpecialTokens
from diptych.runtime.tokenizer import Tokenizer

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (
    "paris",
    "is",
    "the",
    "cap",
    "##ital",
    "##s",
    "of",
    "france",
    "who",
    "where",
    "?",
    ".",
    ",",
    "cafe",
    "very",
    "old",
)
VOCABULARY = {piece: number for number, piece in enumerate((*SPECIAL, *PIECES))}
WIDTH = 4

# ids [S] and token types [S] of one row, unpadded -> its output, [S, …] or […]
Row = Callable[[Array, Array], Array]


def word_pieces(folder: Path) -> Path:
    """As BERT's: lower case, accents dropped, [CLS] a [SEP] b [SEP], token types 0 and 1."""
    reference = Reference(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    reference.normalizer = normalizers.BertNormalizer()
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    reference.decoder = decoders.WordPiece()
    reference.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    reference.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return saved(reference, folder)


def byte_pairs(folder: Path) -> Path:
    """As RoBERTa's: single bytes but for "Ġis", offsets trimmed, <s> a </s></s> b </s>."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<mask>", *alphabet])}
    for piece in ("is", "Ġis"):
        vocabulary[piece] = len(vocabulary)
    reference = Reference(models.BPE(vocabulary, [("i", "s"), ("Ġ", "is")]))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens(["<s>", "<pad>", "</s>", AddedToken("<mask>", lstrip=True, special=True)])
    reference.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return saved(reference, folder)


def sentence_pieces(folder: Path) -> Path:
    """As XLM-RoBERTa's, without a post-processor: words begin with ▁, offsets with the space."""
    letters = [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyzFPT😀"]
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("▁Par", -1.0), ("is", -1.0), ("▁is", -1.0), (".", -1.0), *letters]
    reference = Reference(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    reference.normalizer = normalizers.Replace(Regex(r"\s"), " ")
    reference.pre_tokenizer = pre_tokenizers.Metaspace()
    reference.decoder = decoders.Metaspace()
    return saved(reference, folder)


def saved(reference: Reference, folder: Path) -> Path:
    path = folder / ports.TOKENIZER_FILE
    reference.save(str(path))
    return path


class RowGraph:
    """Each row by itself, padding left out; what stands at padding is not a number, so that no one looks there."""

    def __init__(self, outputs: Mapping[str, tuple[tuple[str | int, ...], Row]], *, token_types: bool = True) -> None:
        """outputs: by name, the axes after the first and the function of a row."""
        names = (ports.INPUT_IDS, ports.ATTENTION_MASK, *([ports.TOKEN_TYPE_IDS] if token_types else []))
        self.inputs: dict[str, Shape] = dict.fromkeys(names, (ports.ROWS, ports.SEQUENCE_LENGTH))
        self.outputs: dict[str, Shape] = {name: (ports.ROWS, *axes) for name, (axes, _) in outputs.items()}
        self.rows = {name: row for name, (_, row) in outputs.items()}
        self.runs: list[Shape] = []

    def run(self, feeds: Arrays) -> dict[str, Array]:
        assert feeds.keys() == self.inputs.keys()
        ids, mask = feeds[ports.INPUT_IDS], feeds[ports.ATTENTION_MASK]
        types = feeds.get(ports.TOKEN_TYPE_IDS, np.zeros_like(ids))
        assert ids.shape == mask.shape == types.shape
        assert all(array.dtype == np.int64 for array in feeds.values())
        lengths = mask.sum(axis=1)
        assert lengths.max() == ids.shape[1], "no more padding than the longest text needs"
        assert (mask == (np.arange(ids.shape[1]) < lengths[:, None])).all(), "padding is on the right"
        assert (ids[mask == 0] == PAD).all()
        self.runs.append(ids.shape)
        return {name: self._stacked(name, ids, types, lengths) for name in self.outputs}

    def _stacked(self, name: str, ids: Array, types: Array, lengths: Array) -> Array:
        of_rows = [self.rows[name](row[:n], kind[:n]) for row, kind, n in zip(ids, types, lengths, strict=True)]
        if ports.SEQUENCE_LENGTH not in self.outputs[name]:
            return np.stack(of_rows).astype(np.float32)
        result = np.full((*ids.shape, *of_rows[0].shape[1:]), np.nan, dtype=np.float32)
        for values, target, n in zip(of_rows, result, lengths, strict=True):
            target[:n] = values
        return result


def states(ids: Array, types: Array) -> Array:
    """[S, WIDTH]: of every token, its id, its place, its type and what all of them are."""
    columns = (np.sin(ids), np.arange(len(ids)) / 10, types - 0.5, np.full(len(ids), np.cos(ids).sum() / 10))
    return np.stack(columns, axis=1)


def projected(width: int) -> Row:
    """[S, width], by fixed weights from `states`."""
    weights = np.random.default_rng(7).normal(0.0, 3.0, (WIDTH, width))
    return lambda ids, types: states(ids, types) @ weights


def by_token(name: str, row: Row, *tail: int) -> dict[str, tuple[tuple[str | int, ...], Row]]:
    return {name: ((ports.SEQUENCE_LENGTH, *tail), row)}


def manifest(
    task: str,
    positions: int | None = None,
    labels: Labels | None = None,
    pooling: Pooling | None = None,
    vocabulary: int = 300,
) -> Manifest:
    tokens = SpecialTokens(pad=PAD, unknown=UNK, mask=MASK)
    return Manifest(task, "bert", tokens, vocabulary, positions, labels=labels, pooling=pooling)


def parts(folder: Path, graph: Any, facts: Manifest, make: Callable[[Path], Path] = word_pieces) -> Any:
    """What a task is made of."""
    return Tokenizer(make(folder)), Encoder(graph, facts)
