"""BERT's tokenizers: one word piece a line in `vocab.txt`."""

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from diptych.export.errors import ExportError
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.result import Tokenizers, converted, frame
from diptych.export.tokenizers.settings import Settings, Special, text_of

SPECIAL: Special = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def bert(folder: Folder, settings: Settings) -> Tokenizers:
    """Raises ExportError if the vocabulary is no text or lacks the unknown token."""
    path = folder.file("vocab.txt")
    named = settings.named(SPECIAL)
    unknown = text_of(named, "unk_token")
    try:
        vocabulary = WordPiece.read_file(str(path))
    except Exception as error:  # The library raises bare Exception.
        raise ExportError(f"{path}: not a list of word pieces ({error})") from error
    if unknown not in vocabulary:
        raise ExportError(f"{path}: {len(vocabulary)} lines without the unknown token {unknown!r}; is it complete?")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.options.get("tokenize_chinese_chars", True),
        strip_accents=settings.options.get("strip_accents"),
        lowercase=settings.options.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix="##")
    settings.add_tokens(tokenizer, named, settings.listed)
    frame(tokenizer, named, "cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 $B:1 sep:1")
    return converted(folder, tokenizer, named)
