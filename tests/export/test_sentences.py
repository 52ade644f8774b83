"""Folders of sentence-transformers: what is read of them, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from diptych.export import ExportError
from diptych.export.sentences import read_sentence_settings
from diptych.runtime.manifest import Pooling

KIND = "sentence_transformers.models"
PLAIN = ("Transformer", "Pooling")


def write(folder: Path, *kinds: str, **files: Any) -> Path:
    modules = [{"type": f"{KIND}.{kind}", "path": f"{place}_{kind}"} for place, kind in enumerate(kinds)]
    for place, kind in enumerate(kinds):
        (folder / f"{place}_{kind}").mkdir(exist_ok=True)
    contents = {
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        **files,
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_folder_without_modules_says_nothing(tmp_path: Path) -> None:
    assert read_sentence_settings(tmp_path) is None


@pytest.mark.parametrize(
    ("kinds", "files", "expected"),
    [
        (("Transformer", "Pooling", "Normalize"), {}, Pooling("mean", normalize=True)),
        (PLAIN, {}, Pooling("mean", normalize=False)),
        (
            PLAIN,
            {"1_Pooling/config.json": {"pooling_mode": "cls"}},
            Pooling("cls", normalize=False),
        ),
        (
            PLAIN,
            {"0_Transformer/sentence_bert_config.json": {"max_seq_length": 7}},
            Pooling("mean", normalize=False, max_length=7),
        ),
        (
            PLAIN,
            {"0_Transformer/sentence_roberta_config.json": {"max_seq_length": 9, "do_lower_case": False}},
            Pooling("mean", normalize=False, max_length=9),
        ),
        (
            PLAIN,
            {"0_Transformer/tokenizer_config.json": {"model_max_length": 11}},
            Pooling("mean", normalize=False, max_length=11),
        ),
    ],
)
def test_pooling_is_as_the_folder_says(
    kinds: tuple[str, ...], files: dict[str, Any], expected: Pooling, tmp_path: Path
) -> None:
    found = read_sentence_settings(write(tmp_path, *kinds, **files))
    assert found is not None
    assert (found.folder, found.pooling) == (tmp_path / "0_Transformer", expected)


@pytest.mark.parametrize(
    ("kinds", "files", "message"),
    [
        (("Transformer", "Pooling", "Dense"), {}, "Dense; supported are"),
        (("Transformer",), {"1_Pooling/config.json": None}, "supported are"),
        (PLAIN, {"modules.json": [3]}, "expected a list of objects"),
        (PLAIN, {"1_Pooling/config.json": [3]}, "expected a JSON object"),
        (PLAIN, {"1_Pooling/config.json": {"pooling_mode": ["mean"]}}, "pooling by"),
        (PLAIN, {"1_Pooling/config.json": {"pooling_mode_weightedmean_tokens": True}}, "pooling by"),
        (PLAIN, {"0_Transformer/sentence_bert_config.json": {"max_seq_length": -5}}, "at least 1"),
        (PLAIN, {"0_Transformer/sentence_bert_config.json": {"max_seq_length": True}}, "at least 1"),
        (PLAIN, {"0_Transformer/sentence_bert_config.json": {"do_lower_case": True}}, "do_lower_case"),
        (PLAIN, {"config_sentence_transformers.json": {"default_prompt_name": "query"}}, "'query'"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(
    kinds: tuple[str, ...], files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "1_Pooling").mkdir(exist_ok=True)
    with pytest.raises(ExportError, match=message):
        read_sentence_settings(write(tmp_path, *kinds, **files))
