"""Tokenizers from `tokenizer.model`: LLaMA's, and those that are no more than a SentencePiece model."""

from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import Precompiled, Replace
from tokenizers.pre_tokenizers import Metaspace

from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.result import Tokenizers, converted, frame_by_options
from diptych.export.tokenizers.sentencepieces import read_sentencepieces
from diptych.export.tokenizers.settings import Settings, Special

LLAMA: Special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama(folder: Folder, settings: Settings) -> Tokenizers:
    """Where the tokenizer's class is LLaMA's: a text begins with a space, unknown characters become bytes."""
    pieces, named = read_sentencepieces(folder.file("tokenizer.model")), settings.named(LLAMA)
    spaced = settings.options.get("add_prefix_space")
    scheme = "never" if spaced is False else "always" if settings.options.get("legacy") else "first"
    tokenizer = Tokenizer(BPE(pieces.ids, pieces.merges(), fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme=scheme, split=False)
    text = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(text if scheme == "never" else [*text, decoders.Strip(" ", left=1)])
    settings.add_tokens(tokenizer, named, pieces.added())
    frame_by_options(tokenizer, named, settings)
    return converted(folder, tokenizer, named)


def bare(folder: Folder, settings: Settings) -> Tokenizers:
    """Where nothing tells the tokenizer's class: the model's pieces, of text as it is."""
    pieces = read_sentencepieces(folder.file("tokenizer.model"))
    named = settings.named(pieces.roles)
    model: BPE | Unigram
    if pieces.bpe:
        model = BPE(
            pieces.ids, pieces.merges(), unk_token=pieces.unknown, fuse_unk=True, byte_fallback=pieces.byte_fallback
        )
    else:
        model = Unigram(pieces.scores, unk_id=pieces.ids[pieces.unknown], byte_fallback=pieces.byte_fallback)
    tokenizer = Tokenizer(model)
    spaces = Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([Precompiled(pieces.charsmap), spaces] if pieces.charsmap else [spaces])
    text = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(text if pieces.byte_fallback else text[:1])
    settings.add_tokens(tokenizer, named, pieces.added())
    frame_by_options(tokenizer, named, settings)
    return converted(folder, tokenizer, named)
