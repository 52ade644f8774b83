"""The GPT and RoBERTa tokenizers: a vocabulary in `vocab.json` and the merges that reach it in `merges.txt`."""

from tokenizers import Tokenizer
from tokenizers.decoders import BPEDecoder
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import RobertaProcessing

from diptych.export.errors import ExportError
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.result import Tokenizers, converted, frame_by_options
from diptych.export.tokenizers.settings import Settings, Special, text_of

GPT2: Special = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
GPT: Special = {"unk_token": "<unk>"}
ROBERTA: Special = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


def gpt2(folder: Folder, settings: Settings) -> Tokenizers:
    """GPT-2, GPT-Neo and OPT, which differ in whether a text begins with `bos`."""
    named = settings.named(GPT2)
    tokenizer = _byte_level(folder, settings)
    settings.add_tokens(tokenizer, named, settings.listed)
    frame_by_options(tokenizer, named, settings)
    return converted(folder, tokenizer, named)


def roberta(folder: Folder, settings: Settings) -> Tokenizers:
    """RoBERTa and BART."""
    named = settings.named(ROBERTA)
    tokenizer = _byte_level(folder, settings)
    settings.add_tokens(tokenizer, named, settings.listed)
    separator, first = text_of(named, "sep_token"), text_of(named, "cls_token")
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = RobertaProcessing(
        (separator, ids[separator]),
        (first, ids[first]),
        trim_offsets=settings.options.get("trim_offsets", True),
        add_prefix_space=settings.options.get("add_prefix_space", False),
    )
    return converted(folder, tokenizer, named)


def gpt(folder: Folder, settings: Settings) -> Tokenizers:
    """The first GPT: lower-case words, split as BERT does, whose last pieces end in `</w>`."""
    named = settings.named(GPT)
    unknown = text_of(named, "unk_token")
    tokenizer = Tokenizer(_bpe(folder, unk_token=unknown, end_of_word_suffix="</w>"))
    if tokenizer.token_to_id(unknown) is None:
        raise ExportError(f"{folder.path / 'vocab.json'}: lacks the unknown token {unknown!r}; is the file complete?")
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = BPEDecoder(suffix="</w>")
    settings.add_tokens(tokenizer, named, settings.listed)
    frame_by_options(tokenizer, named, settings)
    return converted(folder, tokenizer, named)


def _byte_level(folder: Folder, settings: Settings) -> Tokenizer:
    tokenizer = Tokenizer(_bpe(folder))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=settings.options.get("add_prefix_space", False))
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def _bpe(folder: Folder, **options: str) -> BPE:
    """Raises ExportError if a file is missing or damaged, or a merge leads out of the vocabulary."""
    vocabulary = folder.vocabulary("vocab.json")
    path = folder.file("merges.txt")
    try:
        _, merges = BPE.read_file(str(folder.file("vocab.json")), str(path))
        return BPE(vocab=vocabulary, merges=merges, **options)
    except Exception as error:  # The library raises bare Exception.
        raise ExportError(f"{path}: not the merges of {folder.path / 'vocab.json'} ({error})") from error
