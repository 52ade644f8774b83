"""Files that are damaged, incomplete or of another kind stop the export, and say why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.export.errors import ExportError
from diptych.export.tokenizers import read_tokenizers

FAIRSEQ = "sentencepiece.bpe.model"
Pieces = Callable[..., dict[str, int]]


def test_no_tokenizer_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert read_tokenizers(tmp_path, "bert", {}) is None


@pytest.mark.parametrize("family", ["bert", "t5", "marian", "transformer"])
def test_settings_are_no_vocabulary(tmp_path: Path, family: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ExportError, match=r"has tokenizer_config\.json[,;].*remove"):
        read_tokenizers(tmp_path, family, {})


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, -40, -1])
@pytest.mark.parametrize(
    ("family", "name"), [("t5", "spiece.model"), ("xlm-roberta", FAIRSEQ), ("llama", "tokenizer.model")]
)
def test_a_cut_model(make_folder: Any, vocabularies: dict[str, Path], cut: float, family: str, name: str) -> None:
    data = vocabularies["unigram"].read_bytes()
    folder = make_folder(family, {name: data[: int(cut * len(data)) if isinstance(cut, float) else int(cut)]})
    with pytest.raises(ExportError, match=rf"{name}: .*complete"):
        read_tokenizers(folder, family, {})


def test_a_model_cut_between_its_pieces(make_folder: Any, vocabularies: dict[str, Path]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(vocabularies["unigram"].read_bytes())
    pieces = sentencepiece_model_pb2.ModelProto(pieces=model.pieces[:100]).SerializeToString()
    assert vocabularies["unigram"].read_bytes().startswith(pieces)
    with pytest.raises(ExportError, match="ends after 100 pieces, before its settings"):
        read_tokenizers(make_folder("t5", {"spiece.model": pieces}), "t5", {})


@pytest.mark.parametrize("kind", ["char", "word"])
@pytest.mark.parametrize(("family", "name"), [("t5", "spiece.model"), ("mbart", FAIRSEQ), ("llama", "tokenizer.model")])
def test_an_unsupported_kind_of_model(make_folder: Any, kind: str, family: str, name: str) -> None:
    with pytest.raises(
        ExportError, match=rf"{name}: a SentencePiece model of type {kind}; supported are unigram and BPE"
    ):
        read_tokenizers(make_folder(family, {name: kind}), family, {})


def test_words_that_end_in_a_space(make_folder: Any, vocabularies: dict[str, Path]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(vocabularies["unigram"].read_bytes())
    model.trainer_spec.treat_whitespace_as_suffix = True
    with pytest.raises(ExportError, match="words do not begin with '▁'"):
        read_tokenizers(make_folder("t5", {"spiece.model": model.SerializeToString()}), "t5", {})


@pytest.mark.parametrize("there", ["vocab.json", "merges.txt"])
@pytest.mark.parametrize("family", ["gpt2", "roberta", "openai-gpt"])
def test_one_of_two_files(make_folder: Any, there: str, family: str) -> None:
    missing = {"vocab.json": "merges.txt", "merges.txt": "vocab.json"}[there]
    with pytest.raises(ExportError, match=rf"has {there}, but not {missing}"):
        read_tokenizers(make_folder(family, {there: f"gpt2-{there}"}), family, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 0, "b"', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[1, 2]", "a JSON list, expected an object"),
        (b'{"a": "b"}', "'a' has the id 'b'"),
        (b'{"a": -1}', "'a' has the id -1"),
        (b'{"a": true}', "'a' has the id True"),
        (b'{"a": 1, "b": 1}', "2 tokens share 1 ids"),
        (b"{}", "0 tokens"),
        (b'{"a": 123456789}', "ids up to 123456789"),
    ],
)
def test_a_wrong_vocabulary(make_folder: Any, content: bytes, message: str) -> None:
    folder = make_folder("gpt2", {"vocab.json": content, "merges.txt": "gpt2-merges.txt"})
    with pytest.raises(ExportError, match=rf"vocab\.json: .*{message}"):
        read_tokenizers(folder, "gpt2", {})


@pytest.mark.parametrize("content", [b"#version: 0.2\na b c\n", b"#version: 0.2\nQQ QQ\n", b"\xff\xfe\n"])
def test_wrong_merges(make_folder: Any, content: bytes) -> None:
    folder = make_folder("gpt2", {"vocab.json": "gpt2-vocab.json", "merges.txt": content})
    with pytest.raises(ExportError, match=r"merges\.txt: not the merges of"):
        read_tokenizers(folder, "gpt2", {})


@pytest.mark.parametrize(
    ("content", "message"), [(b"a\nb\n", "without the unknown token"), (b"\xff\xfe", "not a list")]
)
def test_wrong_word_pieces(make_folder: Any, content: bytes, message: str) -> None:
    with pytest.raises(ExportError, match=rf"vocab\.txt: .*{message}"):
        read_tokenizers(make_folder("bert", {"vocab.txt": content}), "bert", {})


def test_vocabularies_without_an_unknown_token(make_folder: Any, pieces: Pieces, vocabularies: dict[str, Path]) -> None:
    vocabulary = pieces(["</s>"], ["unigram"])
    files = {"source.spm": "unigram", "target.spm": "unigram", "vocab.json": vocabulary, FAIRSEQ: "unigram"}
    folder = make_folder("marian", files)
    for family in ("marian", "m2m_100"):
        with pytest.raises(ExportError, match=r"vocab\.json: lacks the unknown token '<unk>'"):
            read_tokenizers(folder, family, {})
    gpt = json.loads(vocabularies["gpt-vocab.json"].read_text(encoding="utf-8"))
    gpt["other"] = gpt.pop("<unk>")
    folder = make_folder("openai-gpt", {"vocab.json": gpt, "merges.txt": "gpt-merges.txt"})
    with pytest.raises(ExportError, match=r"vocab\.json: lacks the unknown token '<unk>'"):
        read_tokenizers(folder, "openai-gpt", {})
    with pytest.raises(ExportError, match=r"spiece\.model: lacks the unknown token '<unk>'"):
        read_tokenizers(make_folder("pegasus", {"spiece.model": "unigram"}), "pegasus", {})


@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("bert", {"spiece.model": "unigram"}),
        ("t5", {"tokenizer.model": "unigram"}),
        ("llama", {"vocab.json": "gpt2-vocab.json", "merges.txt": "gpt2-merges.txt"}),
        ("marian", {FAIRSEQ: "unigram"}),
        ("roberta", {FAIRSEQ: "unigram"}),
    ],
)
def test_files_of_another_family(make_folder: Any, family: str, files: dict[str, str]) -> None:
    with pytest.raises(ExportError, match=rf"has {next(iter(files))}.* but not .*is read from tokenizer\.json or"):
        read_tokenizers(make_folder(family, files), family, {})


@pytest.mark.parametrize("family", ["transformer", "diptych", "whisper"])
def test_families_without_older_files(make_folder: Any, family: str) -> None:
    with pytest.raises(ExportError, match=rf"of a {family} checkpoint is read from tokenizer\.json only"):
        read_tokenizers(make_folder(family, {"vocab.txt": "vocab.txt"}), family, {})


def test_an_unknown_class(make_folder: Any) -> None:
    folder = make_folder("bert", {"vocab.txt": "vocab.txt"}, {"tokenizer_class": "BertJapaneseTokenizer"})
    with pytest.raises(ExportError, match=r"class is BertJapaneseTokenizer; read from other files .* BertTokenizer"):
        read_tokenizers(folder, "bert", {})


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"model": {}}'])
def test_a_damaged_tokenizer_json(make_folder: Any, content: bytes) -> None:
    with pytest.raises(ExportError, match=r"tokenizer\.json: not a tokenizer"):
        read_tokenizers(make_folder("bert", {"tokenizer.json": content}), "bert", {})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", b"[]", "a JSON list"),
        ("tokenizer_config.json", b'{"cls_token": 3}', "3 is not a token"),
        ("tokenizer_config.json", b'{"cls_token": {"text": "x"}}', "is not a token"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": ["x"]}', "expected tokens by id"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": "x"}}', "expected tokens by id"),
        ("tokenizer_config.json", b'{"cls_token": null}', "there is no cls_token, which this tokenizer needs"),
        ("special_tokens_map.json", b"{", "not JSON"),
        ("added_tokens.json", b'{"<new>": "x"}', "'<new>' has the id 'x'"),
        ("added_tokens.json", b'{"<new>": 5000}', "'<new>' should have the id 5000, but with this vocabulary"),
        ("added_tokens.json", b'{"[MASK]": 5000}', "should have the id 5000, but with this vocabulary it has 4"),
        ("added_tokens.json", b'{"<new>": 5000, "<newer>": 5000}', "2 tokens share 1 ids"),
    ],
)
def test_wrong_settings(make_folder: Any, name: str, content: bytes, message: str) -> None:
    folder = make_folder("bert", {"vocab.txt": "vocab.txt", name: content})
    with pytest.raises(ExportError, match=message):
        read_tokenizers(folder, "bert", {})


def test_unknown_language_codes(make_folder: Any, pieces: Pieces) -> None:
    files = {FAIRSEQ: "bpe", "vocab.json": pieces(["<unk>"], ["bpe"])}
    with pytest.raises(ExportError, match="language_codes is 'new'; known are m2m100, wmt21"):
        read_tokenizers(make_folder("m2m_100", files, {"language_codes": "new"}), "m2m_100", {})


def test_added_tokens_have_the_ids_that_the_files_say(make_folder: Any) -> None:
    """Transformers gives the free ids to added tokens first, whatever ids they have in the files."""
    folder = make_folder("t5", {"spiece.model": "t5"}, {"sep_token": "<sep>"})
    read = read_tokenizers(folder, "t5", {})
    assert read is not None
    size = read.source.get_vocab_size()
    (folder / "added_tokens.json").write_text(json.dumps({"<new>": size}))
    again = read_tokenizers(folder, "t5", {})
    assert again is not None
    assert again.source.token_to_id("<sep>") == read.source.token_to_id("<sep>") == size - 1
    assert again.source.token_to_id("<new>") == size
