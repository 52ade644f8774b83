"""Every planted fault is caught, and bisection names its module."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import pytest
from parity.document import rows_between
from parity.faults import FAULTS, MODELS, Fault
from parity.injection import Healthy, Planting
from parity.tables import FAULT_HEADINGS

from diptych.export import verify_bundle
from diptych.export.parity.display.words import LEVELS

NAMED = [fault for fault in FAULTS if fault.module is not None]


@dataclass(frozen=True)
class Caught:
    """levels: those that failed, in order. module: what bisection named."""

    fault: str
    model: str
    levels: list[str]
    module: str | None


Verify = Callable[[Fault], Caught]


@pytest.fixture(scope="module")
def caught(healthy: Callable[[str], Healthy], tmp_path_factory: pytest.TempPathFactory) -> Verify:
    @cache
    def verify(fault: Fault) -> Caught:
        planting = Planting(healthy(fault.model))
        fault.plant(planting)
        bundle = planting.write(tmp_path_factory.mktemp("faulty") / "bundle")
        report = verify_bundle(bundle, checkpoint=planting.healthy.checkpoint, bisect=True, threads=1)
        shutil.rmtree(bundle)
        assert report.bisection is not None
        failed = {failure.level for failure in report.failures}
        assert failed <= set(LEVELS)
        return Caught(fault.name, fault.model, [level for level in LEVELS if level in failed], report.bisection.module)

    return verify


@pytest.mark.parametrize("model", MODELS)
def test_without_a_fault_nothing_is_found(
    model: str, healthy: Callable[[str], Healthy], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also after a bundle was read and written as those with faults are."""
    planting = Planting(healthy(model))
    bundle = planting.write(tmp_path_factory.mktemp("healthy") / "bundle")
    report = verify_bundle(bundle, checkpoint=planting.healthy.checkpoint, bisect=True, threads=1)
    assert report.passed, report.failures
    assert report.bisection is not None
    assert report.bisection.module is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(fault: Fault, caught: Verify, found: list[dict[str, Any]]) -> None:
    one = caught(fault)
    assert one.levels
    found.append(asdict(one))


def test_bisection_names_the_module_in_nine_of_ten(caught: Verify) -> None:
    wrong = {
        fault.name: (caught(fault).module, fault.module) for fault in NAMED if caught(fault).module != fault.module
    }
    assert len(wrong) <= len(NAMED) / 10, wrong


def test_nothing_is_named_where_the_graphs_are_right(caught: Verify) -> None:
    assert [caught(fault).module for fault in FAULTS if fault.module is None] == [None] * (len(FAULTS) - len(NAMED))


@pytest.mark.parametrize(
    "name",
    [
        "no causal mask",
        "causal mask off by one with a past",
        "padding leaks through self-attention",
        "padding leaks through cross-attention",
        "cached rows reordered",
        "sources swapped in cross-attention",
        "residual dropped",
        "norm before the sum",
        "dropout left on",
    ],
)
def test_properties_are_broken_by_what_breaks_them(name: str, caught: Verify) -> None:
    """Though PyTorch is wrong about nothing, and tensors tell as well."""
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    assert "properties" in caught(fault).levels


def test_faults_are_many_and_of_all_kinds() -> None:
    assert len(FAULTS) == len({fault.name for fault in FAULTS}) >= 40
    assert {fault.model for fault in FAULTS} == set(MODELS)


def test_the_document_says_where_faults_are_caught(caught: Verify) -> None:
    """The first level that fails, and the module; run `make parity` if it does not."""
    assert FAULT_HEADINGS == ("fault", "model", "caught at", "module")
    listed = {fault: (levels.split(", ")[0], module) for fault, _, levels, module in rows_between("faults")}
    for fault in FAULTS:
        one = caught(fault)
        assert listed[fault.name] == (one.levels[0], f"`{one.module}`" if one.module else "")
