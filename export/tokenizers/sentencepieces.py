"""A SentencePiece model file, read and checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken

from diptych.export.errors import ExportError

_schema: Any = sentencepiece_model_pb2  # Generated when imported: type checkers see nothing in it.
SUPPORTED = {_schema.TrainerSpec.UNIGRAM: "unigram", _schema.TrainerSpec.BPE: "BPE"}
CONTROL, SYMBOL, UNUSED = (
    _schema.ModelProto.SentencePiece.Type.Value(n) for n in ("CONTROL", "USER_DEFINED", "UNUSED")
)


@dataclass(frozen=True)
class SentencePieces:
    """The pieces with their scores, in the order of their ids, and how text is prepared for them.

    roles: the special tokens, as far as the model tells them. control: pieces that stand for no text, `<s>` say.
    symbols: pieces that are cut out of a text before all others. unused: pieces that are never cut out.
    charsmap: the compiled replacements of characters, empty where there are none. dummy_prefix: a text begins with a
    space. squeezes_spaces: other spaces are kept between words only, one each. processor: the library's own tokenizer.
    """

    path: Path
    scores: list[tuple[str, float]]
    unknown: str
    roles: dict[str, str]
    control: list[str]
    symbols: list[str]
    unused: list[str]
    bpe: bool
    byte_fallback: bool
    charsmap: bytes
    dummy_prefix: bool
    squeezes_spaces: bool
    processor: sentencepiece.SentencePieceProcessor

    @cached_property
    def ids(self) -> dict[str, int]:
        return {piece: number for number, (piece, _) in enumerate(self.scores)}

    def added(self) -> list[AddedToken]:
        """The control pieces and symbols as tokens of `tokenizers`, in the order of their ids."""
        special = set(self.control)
        kept = special | set(self.symbols)
        return [AddedToken(piece, normalized=False, special=piece in special) for piece in self.ids if piece in kept]

    def merges(self) -> list[tuple[str, str]]:
        """The pairs of pieces that make a piece, those of the first piece first."""
        ids = self.ids
        pairs = ((piece[:cut], piece[cut:]) for piece in ids for cut in range(1, len(piece)))
        return [(left, right) for left, right in pairs if left in ids and right in ids]


def read_sentencepieces(path: Path) -> SentencePieces:
    """Raises ExportError if the file is damaged, or of a kind that `tokenizers` has no model for."""
    data = path.read_bytes()
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise ExportError(f"{path}: not a SentencePiece model ({error}); is it complete?") from error
    model = _schema.ModelProto.FromString(data)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    if not model.HasField("trainer_spec") or not model.HasField("normalizer_spec"):
        raise ExportError(f"{path}: ends after {len(model.pieces)} pieces, before its settings; is the file complete?")
    if trainer.model_type not in SUPPORTED:
        kind = _schema.TrainerSpec.ModelType.Name(trainer.model_type).lower()
        raise ExportError(
            f"{path}: a SentencePiece model of type {kind}; supported are {' and '.join(SUPPORTED.values())}. "
            "Export from a folder with a tokenizer.json, or with no tokenizer files to work with ids"
        )
    if trainer.treat_whitespace_as_suffix or not normalizer.escape_whitespaces:
        raise ExportError(
            f"{path}: words do not begin with '▁' in it; supported are SentencePiece models where they do"
        )
    kinds = {kind: [piece.piece for piece in model.pieces if piece.type == kind] for kind in (CONTROL, SYMBOL, UNUSED)}
    return SentencePieces(
        path=path,
        scores=[(piece.piece, piece.score) for piece in model.pieces],
        unknown=processor.id_to_piece(processor.unk_id()),
        roles={
            f"{role}_token": getattr(trainer, f"{role}_piece")
            for role in ("bos", "eos", "unk")
            if getattr(trainer, f"{role}_id") >= 0
        },
        control=kinds[CONTROL],
        symbols=kinds[SYMBOL],
        unused=kinds[UNUSED],
        bpe=trainer.model_type == _schema.TrainerSpec.BPE,
        byte_fallback=trainer.byte_fallback,
        charsmap=normalizer.precompiled_charsmap,
        dummy_prefix=normalizer.add_dummy_prefix,
        squeezes_spaces=normalizer.remove_extra_whitespaces,
        processor=processor,
    )
