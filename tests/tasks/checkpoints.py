"""Checkpoint folders as transformers saves them: tiny models of random weights, tokenizers trained on a few lines."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import torch
from tasks.command import diptych
from tasks.texts import LINES
from tiny_checkpoints import fill
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import AutoTokenizer, BertTokenizer, RobertaTokenizer
from transformers.pytorch_utils import Conv1D

BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DISTILBERT: dict[str, Any] = {
    "dim": 32,
    "n_layers": 1,
    "n_heads": 2,
    "hidden_dim": 48,
    "max_position_embeddings": 64,
}
# Two positions are never used.
ROBERTA = BERT | {"max_position_embeddings": 66, "type_vocab_size": 1}
PAIR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 96,
}
MARIAN = PAIR | {"scale_embedding": True, "activation_function": "swish", "eos_token_id": 0, "forced_eos_token_id": 0}
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


class Published(NamedTuple):
    """A checkpoint, the bundle made of it, and how transformers reads the former."""

    checkpoint: Path
    bundle: Path
    model: Any
    tokenizer: Any


def publish(folder: Path, model: Any, tokenizer: Any = None, *options: str, strength: float = 1.0) -> Published:
    """Save a model of random weights, and its tokenizer, in a new folder in this one, and export that by command."""
    save(folder / "checkpoint", model, tokenizer, strength)
    return export(folder / "checkpoint", model, *options)


def save(checkpoint: Path, model: Any, tokenizer: Any = None, strength: float = 1.0) -> None:
    """tokenizer: what has `save_pretrained`, or None where the folder has the files already.

    strength: of layers; the stronger, the more a token's neighbours count, beside the token itself.
    """
    randomise(model, strength)
    model.eval().save_pretrained(checkpoint)
    if tokenizer is not None:
        tokenizer.save_pretrained(checkpoint)


def export(checkpoint: Path, model: Any, *options: str, inside: str = "") -> Published:
    """transformers reads model and tokenizer from the folder, too: what is saved is not always what was made.

    inside: where in the folder transformers finds its files.
    """
    bundle = checkpoint.parent / "bundle"
    finished = diptych("export", checkpoint, bundle, *options)
    assert finished.status == 0, finished.stderr
    read = type(model).from_pretrained(checkpoint / inside).eval()
    return Published(checkpoint, bundle, read, AutoTokenizer.from_pretrained(checkpoint / inside))


def randomise(model: Any, strength: float) -> None:
    computed = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    fill(model, 1)
    model.load_state_dict(computed, strict=False)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | Conv1D) and module.weight.data_ptr() != _tokens(model):
                module.weight *= strength
            # `fill` knows norms by "norm" in their names; BERT's LayerNorm and GPT-2's ln_1 have none.
            if isinstance(module, nn.LayerNorm) and "norm" not in name:
                module.weight += 1


def _tokens(model: Any) -> int:
    """Which matrix a head may share."""
    return int(model.get_input_embeddings().weight.data_ptr())


def bert_tokenizer(*, lowercase: bool = True) -> BertTokenizer:
    return BertTokenizer(vocab=word_pieces(lowercase=lowercase), do_lower_case=lowercase)


def roberta_tokenizer() -> RobertaTokenizer:
    vocabulary, merges = byte_pairs(ROBERTA_SPECIALS)
    return RobertaTokenizer(vocab=vocabulary, merges=merges)


def word_pieces(*, lowercase: bool = True, size: int = 260) -> dict[str, int]:
    """A vocabulary as BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = sorted(set("".join(map(tokenizer.normalizer.normalize_str, LINES))) - {" "})
    # Letters that it meets for the first time would get another id in each process.
    first = [*BERT_SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return dict(tokenizer.get_vocab())


def byte_pairs(specials: Sequence[str], size: int = 600) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary as GPT-2's, with its merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return dict(tokenizer.get_vocab()), [tuple(pair) for pair in merges]


def sentence_pieces(path: Path, kind: str = "unigram", size: int = 200, **settings: Any) -> list[str]:
    """Train a SentencePiece model and write it; returns its pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **settings,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
