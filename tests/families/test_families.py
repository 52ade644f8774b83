"""Every family against transformers, in PyTorch and from the graphs; and its bundles against PyTorch, in every form."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from families.case import PAD, SEARCHES, Case
from families.cases import CASES
from families.comparing import SHAPES, Batch, Side, generated, outputs, relative_error
from families.twins import CLOSE, TOLERANCES, Engine, MakeTwins, Record
from parity.grid import EVERY_BUNDLE, Cell, chosen, twins_of, with_tokenizer
from parity.measured import measured

from diptych.export import export_checkpoint, pipeline, verify_bundle
from diptych.export.defaults import source_side
from diptych.export.graph_spec import GraphSpec
from diptych.export.parity import verify
from diptych.export.parity.gate import Gate
from diptych.export.parity.levels import cases as sizes
from diptych.export.trace import trace
from diptych.model.tasks import GENERATING
from diptych.runtime import ports

RUNS: list[tuple[Case, Engine]] = [
    *((case, "PyTorch") for case in CASES),
    *((case, "ONNX") for case in CASES if case.exported),
]
GENERATED = [(case, engine) for case, engine in RUNS if case.task in GENERATING]


def name(value: object) -> str:
    return str(value)


@pytest.mark.parametrize(("rows", "length", "side"), SHAPES)
@pytest.mark.parametrize(("case", "engine"), RUNS, ids=name)
def test_outputs_are_those_of_transformers(
    case: Case, engine: Engine, rows: int, length: int, side: Side, make_twins: MakeTwins, record: Record
) -> None:
    twins = make_twins(case)
    assert (twins.checkpoint.family, twins.checkpoint.task) == (case.family, case.task)
    found = outputs(twins, engine, rows, length, side, alone=case.alone)
    assert found
    for port, (ours, theirs) in found.items():
        assert relative_error(ours, theirs) <= TOLERANCES[engine], port
    record(case, engine, CLOSE[engine])


@pytest.mark.parametrize(("beams", "search"), SEARCHES)
@pytest.mark.parametrize(("case", "engine"), GENERATED, ids=name)
def test_generated_ids_are_those_of_transformers(
    case: Case, engine: Engine, beams: int, search: str, make_twins: MakeTwins, record: Record
) -> None:
    """Random weights repeat themselves; where no token may occur twice, they cannot."""
    twins = make_twins(case)
    for rows, options in ((1, {}), (3, {"no_repeat_ngram_size": 1, "min_new_tokens": 9})):
        prompts = Batch.draw(rows, 11, "right", source_side(twins.spec).embedding.vocab_size, 5).rows
        options |= {"num_beams": beams, "max_new_tokens": 17, "suppress_tokens": [PAD]}
        ours, theirs = generated(twins, engine, prompts, alone=case.alone, **options)
        assert ours == theirs
    assert len({token for ids in ours for token in ids}) >= 10
    record(case, engine, search)


@dataclass(frozen=True)
class Made:
    """A checkpoint, and how its graphs are come by: those that were exported already are not traced once more."""

    checkpoint: Path
    trace: Callable[[str, GraphSpec], ir.Model]


@pytest.fixture(scope="session")
def made(make_twins: MakeTwins, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Made]:
    done: dict[str, Made] = {}

    def make(case: Case) -> Made:
        if str(case) in done:
            return done[str(case)]
        folder = tmp_path_factory.mktemp("cells")
        twins, traced = twins_of(case, make_twins, folder), dict[str, ir.Model]()
        exported = twins.bundle.folder

        def traced_once(target: str, spec: GraphSpec) -> ir.Model:
            same = target == "portable" or spec.file == ports.ENCODER_FILE or case.task not in GENERATING
            name = spec.file if same else f"{target} {spec.file}"
            if name not in traced:
                traced[name] = ir.load(exported / spec.file) if same else trace(spec)
            return traced[name].clone()

        done[str(case)] = Made(with_tokenizer(case, twins.folder, folder / "with-tokenizer"), traced_once)
        return done[str(case)]

    return make


@pytest.mark.parametrize("cell", chosen(), ids=name)
def test_bundles_pass_verification(
    cell: Cell,
    made: Callable[[Case], Made],
    proofs: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that they must have is proven, and nothing is excused; what was measured is recorded for docs/parity.md."""
    one, gates = made(cell.case), []

    def gate(*arguments: Any) -> Gate:
        gates.append(Gate(*arguments))
        return gates[0]

    monkeypatch.setattr(verify, "Gate", gate)
    monkeypatch.setattr(pipeline, "trace", lambda spec: one.trace(cell.target, spec))
    if not os.environ.get(EVERY_BUNDLE):  # What has no longest text is else compared on as long ones as memory holds.
        monkeypatch.setattr(sizes, "_BYTES", 1 << 22)
    export_checkpoint(
        one.checkpoint,
        tmp_path / "bundle",
        task=cell.case.task,
        target=cell.target,
        precision=cell.precision,
        verify=False,
    )
    report = verify_bundle(tmp_path / "bundle", checkpoint=one.checkpoint, threads=1)
    assert report.passed, report.failures
    assert report.precision.name == cell.precision
    assert None not in (report.facts, report.weights, report.tensors, report.properties)
    assert (report.tokens is not None) is (cell.case.task in GENERATING)
    assert (report.quality is not None) is (cell.precision != "fp32")
    holding = {each.name for each in report.properties if each.holds and each.exempt is None}
    assert cell.proven <= holding
    if cell.precision == "int8":  # Where a step is worth more, at half of all positions float32 explains what is left.
        assert max(each.own / each.scale for each in report.tensors.outputs) > 1e-4
        assert all(each.typical < 1 for each in report.tensors.outputs if each.output != ports.LOG_SUM_EXP)
    proofs.append(measured(cell, gates[0]))
