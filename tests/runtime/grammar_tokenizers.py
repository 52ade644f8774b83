"""Small tokenizers of the kinds there are, made by hand."""

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from diptych.runtime.tokenizer import Tokenizer

SPECIAL = ["<pad>", "<lang>", "</s>", "<end>"]
CLEANED = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 's": "'s"}


def byte_level(*words: str, prefix_space: bool = False) -> tokenizers.Tokenizer:
    """GPT-2's kind: all bytes, and these words."""
    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *words]
    made = tokenizers.Tokenizer(models.BPE({name: token for token, name in enumerate(names)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.decoder = decoders.ByteLevel()
    return _with_special(made)


def metaspace(*pieces: str, clean_up: bool = False) -> tokenizers.Tokenizer:
    """T5's kind: pieces of a vocabulary that lacks whatever it lacks."""
    made = tokenizers.Tokenizer(models.Unigram([(piece, -1.0) for piece in dict.fromkeys([*SPECIAL, *pieces])], 0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    if clean_up:
        steps = [decoders.Replace(before, after) for before, after in CLEANED.items()]
        made.decoder = decoders.Sequence([decoders.Metaspace(), decoders.Fuse(), *steps])
    return _with_special(made)


def byte_fallback(*pieces: str) -> tokenizers.Tokenizer:
    """LLaMA's kind: pieces, and bytes for all else."""
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocabulary = {name: token for token, name in enumerate(dict.fromkeys(names))}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    text = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    made.decoder = decoders.Sequence(text)
    return _with_special(made)


def word_pieces(*pieces: str, cleanup: bool = True) -> tokenizers.Tokenizer:
    """BERT's kind."""
    vocabulary = {name: token for token, name in enumerate([*SPECIAL, "[UNK]", *pieces])}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=cleanup)
    return _with_special(made)


def load(made: tokenizers.Tokenizer, folder: Path) -> Tokenizer:
    made.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder / "tokenizer.json")


def names_of(tokenizer: Tokenizer) -> list[str]:
    """How the vocabulary spells each id."""
    vocabulary = tokenizer._tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _with_special(made: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    made.add_special_tokens(SPECIAL)
    return made


def of_bytes(folder: Path) -> Tokenizer:
    """Some letters and the punctuation of JSON in one token."""
    return load(byte_level("ab", "abc", '{"', '":', "Ġa", "22"), folder)


def of_pieces(folder: Path) -> Tokenizer:
    """The same, with a space at the beginning of words."""
    return load(metaspace("▁", "▁a", "▁ab", "ab", "a", "b", "▁{", *'{"x:}12,.'), folder)
