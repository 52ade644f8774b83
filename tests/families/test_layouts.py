"""Checkpoints as they are found: each layout gives the network that transformers saved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from families.case import Case
from families.cases import CASES, USUAL
from families.comparing import outputs, relative_error
from families.layouts import LAYOUTS, Layout, edit_config, edit_tensors
from families.twins import CLOSE, TOLERANCES, Engine, Record, Twins, make_reference
from torch import nn

from diptych.model import CheckpointError, load_checkpoint

ENGINE: Engine = "PyTorch"

CASES_OF_LAYOUTS = [
    (layout, case)
    for layout in LAYOUTS
    for case in USUAL.values()
    if layout.families is None or case.family in layout.families
]


def assert_equal(reference: Any, folder: Path, task: str | None = None) -> Twins:
    twins = Twins(reference, folder, task)
    for port, (ours, theirs) in outputs(twins, ENGINE, 3, 9, "right").items():
        assert relative_error(ours, theirs) <= TOLERANCES[ENGINE], port
    return twins


@pytest.mark.parametrize(("layout", "case"), CASES_OF_LAYOUTS, ids=lambda value: getattr(value, "name", None))
def test_a_layout_is_read(layout: Layout, case: Case, tmp_path: Path, record: Record) -> None:
    reference = make_reference(case)
    layout.write(reference, tmp_path)
    twins = assert_equal(reference, tmp_path)
    task = layout.tasks.get(case.family, case.task)
    assert (twins.checkpoint.family, twins.checkpoint.task) == (case.family, task)
    record(replace(case, task=task), ENGINE, CLOSE[ENGINE], layout.name)


@pytest.mark.parametrize("case", USUAL.values(), ids=str)
def test_any_checkpoint_gives_states(case: Case, tmp_path: Path, record: Record) -> None:
    """Whatever it was made for; of two panels the encoder's."""
    reference = make_reference(case)
    reference.save_pretrained(tmp_path)
    assert_equal(reference.base_model, tmp_path, "embed")
    record(replace(case, task="embed"), ENGINE, CLOSE[ENGINE], f"made to {case.task}")


@pytest.mark.parametrize("case", [case for case in CASES if case.task == "embed" and case.family != "t5"], ids=str)
def test_a_model_without_head_may_have_its_prefix(case: Case, tmp_path: Path, record: Record) -> None:
    reference = make_reference(case)
    reference.save_pretrained(tmp_path)
    edit_tensors(tmp_path, lambda tensors: {f"{reference.base_model_prefix}.{k}": v for k, v in tensors.items()})
    assert assert_equal(reference, tmp_path).checkpoint.task == "embed"
    record(case, ENGINE, CLOSE[ENGINE], "prefix")


@pytest.mark.parametrize("key", ["type", "rope_type"])
@pytest.mark.parametrize("case", [case for case in CASES if case.config.get("rope_parameters")], ids=str)
def test_positions_as_transformers_4_describes_them(case: Case, key: str, tmp_path: Path, record: Record) -> None:
    reference = make_reference(case)
    reference.save_pretrained(tmp_path)
    scaling = dict(case.config["rope_parameters"])
    theta, kind = scaling.pop("rope_theta"), scaling.pop("rope_type")
    edit_config(tmp_path, "rope_parameters", rope_theta=theta, rope_scaling={**scaling, key: kind})
    twins = Twins(reference, tmp_path)
    ((ours, theirs),) = outputs(twins, ENGINE, 3, 9, "right", alone=case.alone).values()
    assert relative_error(ours, theirs) <= TOLERANCES[ENGINE]
    record(case, ENGINE, CLOSE[ENGINE], f'rope_scaling with "{key}"')


def test_an_own_head_of_t5_is_neither_tied_nor_scaled(tmp_path: Path, record: Record) -> None:
    """T5 1.1 under the configuration that transformers 4 wrote; version 5 ties whatever the file holds."""
    case = next(case for case in CASES if case.name == "as T5 1.1")
    reference = make_reference(case)
    reference.lm_head.weight = nn.Parameter(reference.lm_head.weight.flip(0).clone())
    reference.save_pretrained(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors | {"lm_head.weight": reference.lm_head.weight.detach()})
    edit_config(tmp_path, "scale_decoder_outputs", tie_word_embeddings=False)
    assert_equal(reference, tmp_path)
    record(case, ENGINE, CLOSE[ENGINE], "own head")
    edit_tensors(tmp_path, lambda tensors: {k: v for k, v in tensors.items() if k != "lm_head.weight"})
    with pytest.raises(CheckpointError, match=r"missing: head\.weight"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("model", "task", "supported"),
    [
        ("BertModel", "classify", "embed"),
        ("BertModel", "generate", "embed"),
        ("RobertaForMaskedLM", "answer", "fill, embed"),
        ("DistilBertForTokenClassification", "fill", "tag, embed"),
        ("LlamaModel", "generate", "embed"),
        ("LlamaForCausalLM", "translate", "generate, embed"),
        ("T5EncoderModel", "translate", "embed"),
        ("BartForConditionalGeneration", "fill", "generate, translate, summarise, embed"),
    ],
)
def test_a_head_that_is_missing_is_told_with_those_that_are_there(
    model: str, task: str, supported: str, tmp_path: Path
) -> None:
    make_reference(next(case for case in CASES if case.model == model)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=task) as caught:
        load_checkpoint(tmp_path, task)
    assert str(caught.value).endswith(f"supports --task {supported}")
    assert str(tmp_path) in str(caught.value)
