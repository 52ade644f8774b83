"""What each family's checkpoint becomes, written down as a model of one's own, is still what transformers computes."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from families.case import PAD, SEARCHES, Case
from families.cases import USUAL
from families.comparing import SHAPES, Batch, generated, outputs, relative_error
from families.twins import CLOSE, TOLERANCES, Engine, MakeTwins, Record, Twins
from own_models import as_json, own_checkpoint

from diptych.export import verify_bundle
from diptych.export.defaults import source_side
from diptych.model.tasks import GENERATING

OWN = "diptych"
RUNS: list[tuple[Case, Engine]] = [*((case, "PyTorch") for case in USUAL.values()), (USUAL["opt"], "ONNX")]
IDS = ("pad_token_id", "eos_token_id", "decoder_start_token_id")


def as_own(twins: Twins, case: Case, folder: Path) -> Twins:
    checkpoint = twins.checkpoint
    keys = {key: value for key, value in case.config.items() if key in IDS}
    tensors = checkpoint.network.state_dict()
    own_checkpoint(folder, as_json(twins.spec), tensors, linear_layout="in_out", task=checkpoint.task, **keys)
    if case.task in GENERATING:
        shutil.copyfile(twins.folder / "generation_config.json", folder / "generation_config.json")
    return Twins(twins.saved, folder)


@pytest.mark.parametrize(("case", "engine"), RUNS, ids=str)
def test_a_model_of_ones_own(case: Case, engine: Engine, make_twins: MakeTwins, tmp_path: Path, record: Record) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    twins = as_own(make_twins(case), case, folder)
    assert (twins.checkpoint.family, twins.checkpoint.task) == (OWN, case.task)
    for rows, length, side in SHAPES:
        for port, (ours, theirs) in outputs(twins, engine, rows, length, side).items():
            assert relative_error(ours, theirs) <= TOLERANCES[engine], (port, rows, length, side)
    if engine == "ONNX":
        report = verify_bundle(twins.bundle.folder, checkpoint=twins.folder, threads=1)
        assert report.passed, report.failures
    own = replace(case, family=OWN, name=f"as {case.family}")
    record(own, engine, CLOSE[engine])
    if case.task in GENERATING:
        prompts = Batch.draw(3, 11, "right", source_side(twins.spec).embedding.vocab_size, 5).rows
        for beams, search in SEARCHES:
            options = {"num_beams": beams, "max_new_tokens": 17, "suppress_tokens": [PAD], "no_repeat_ngram_size": 1}
            ours, theirs = generated(twins, engine, prompts, alone=case.alone, **options)
            assert ours == theirs
            record(own, engine, search)
