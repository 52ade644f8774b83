"""Every family against transformers: states, logits, heads and generated ids, in PyTorch and from the graphs."""

from typing import Any

import pytest
from families.case import PAD, SEARCHES, Case
from families.cases import CASES
from families.comparing import SHAPES, Batch, Side, generated, outputs, relative_error
from families.twins import CLOSE, TOLERANCES, Engine, MakeTwins, Record

from diptych.export import verify_bundle
from diptych.export.defaults import source_side
from diptych.export.parity import verify
from diptych.export.parity.gate import Gate
from diptych.model.tasks import GENERATING

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


@pytest.mark.parametrize("case", [case for case in CASES if case.exported], ids=name)
def test_exported_bundles_pass_verification(
    case: Case, make_twins: MakeTwins, proofs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is excused; how near each output came to its bound is recorded for docs/parity.md."""
    twins, gates = make_twins(case), []

    def gate(*arguments: Any) -> Gate:
        gates.append(Gate(*arguments))
        return gates[0]

    monkeypatch.setattr(verify, "Gate", gate)
    report = verify_bundle(twins.bundle.folder, checkpoint=twins.folder, threads=1)
    assert report.passed, report.failures
    assert report.tensors is not None
    (tensors,) = (gate.tensors for gate in gates)
    errors = {
        f"{graph} {output}": [
            (found.case, each.own / each.scale, each.error / each.scale, each.ratio)
            for found in tensors._judged(graph, output)
            for each in [found.deviation]
        ]
        for graph, output in tensors.found
    }
    assert len(errors) == len(report.tensors.outputs)
    proofs.append({"family": case.family, "task": case.task, "configuration": case.name, "errors": errors})
