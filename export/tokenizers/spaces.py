"""Decoded text without the spaces before punctuation, where tokenizer_config.json asks for that."""

from dataclasses import replace

from tokenizers import Tokenizer
from tokenizers.decoders import Fuse, Replace, Sequence

from diptych.export.tokenizers.result import Tokenizers
from diptych.export.tokenizers.settings import Settings

# In this order, as transformers does.
_REPLACED = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}
# transformers leaves alone what BPE models decode, except in these classes, which are written in Python.
_WHATEVER_THE_MODEL = ("MarianTokenizer", "M2M100Tokenizer")


def cleaned(found: Tokenizers, settings: Settings, class_name: str | None) -> Tokenizers:
    """The tokenizers, whose decoders take spaces out if `clean_up_tokenization_spaces` says so."""
    if not settings.options.get("clean_up_tokenization_spaces"):
        return found
    both = [found.source, *([found.target] if found.target is not None else [])]
    changed = [
        tokenizer
        for tokenizer in both
        if tokenizer.decoder is not None and (class_name in _WHATEVER_THE_MODEL or not _is_bpe(tokenizer))
    ]
    for tokenizer in changed:
        steps = [Replace(before, after) for before, after in _REPLACED.items()]
        tokenizer.decoder = Sequence([tokenizer.decoder, Fuse(), *steps])
    return replace(found, converted=True) if changed else found


def _is_bpe(tokenizer: Tokenizer) -> bool:
    return type(tokenizer.model).__name__ == "BPE"
