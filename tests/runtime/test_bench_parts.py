"""The parts of `diptych bench`: memory, the machine, its rates."""

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.runtime import memory_limit
from diptych.runtime.bench import cells, fresh_load, machine, peak, rates
from diptych.runtime.bench.generating import NEW_TOKENS, SOURCE_LENGTH, Panels, _lengths
from diptych.runtime.bench.machine import Busy, foreign_load
from diptych.runtime.bench.peak import Peak, peak_of
from diptych.runtime.bench.rates import FP32, INT8, RateMeter, Rates
from diptych.runtime.bench.work import Work, work_of
from diptych.runtime.errors import BundleError, OptionError
from diptych.runtime.providers import SessionSettings

MEGABYTE = 1 << 20
AN_ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm bf16 atomics

Model\t\t: Raspberry Pi 5 Model B
"""
TWO_SOCKETS = "".join(
    f"processor\t: {number}\nmodel name\t: A  CPU\nphysical id\t: {number // 4}\ncore id\t\t: {number % 2}\n"
    "flags\t\t: fpu avx2 avx512_vnni\n\n"
    for number in range(8)
)


def fill(size: int) -> None:
    """Has so many bytes in memory long enough to be seen."""
    values = np.ones(size, dtype=np.uint8)
    time.sleep(0.02)
    assert values[-1]


def without(monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
    """A system that does not have these files."""
    for name in names:
        monkeypatch.setattr(module, name, Path("/nowhere/at/all"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("resettable", [True, False])
def test_a_peak_is_that_of_its_run(resettable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resettable:
        without(monkeypatch, peak, "_CLEAR")
    large, small = peak_of(lambda: fill(200 * MEGABYTE)), peak_of(lambda: fill(MEGABYTE))
    assert large.how == small.how
    assert large.how in ("kernel", "sampled") if resettable else large.how == "sampled"
    assert large.size is not None
    assert small.size is not None
    assert 150 * MEGABYTE < large.size - small.size < 250 * MEGABYTE


def test_a_peak_that_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, peak, "_CLEAR", "_STATUS")
    without(monkeypatch, memory_limit, "_STATUS")
    ran = []
    assert peak_of(lambda: ran.append(1)) == Peak(None, "unknown")
    assert ran == [1]


def test_a_run_that_fails_ends_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, peak, "_CLEAR")
    with pytest.raises(ZeroDivisionError):
        peak_of(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("told", "processor", "cores", "sets"),
    [
        (AN_ARM, "Raspberry Pi 5 Model B", None, ["asimd", "asimddp", "i8mm", "bf16"]),
        (TWO_SOCKETS, "A  CPU", 4, ["avx2", "avx512_vnni"]),
    ],
    ids=["arm", "two sockets, two threads a core"],
)
def test_the_processor_is_read(
    told: str, processor: str, cores: int | None, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(machine, "_PROCESSORS", tmp_path / "cpuinfo")
    found = machine.describe(0)
    assert (found["processor"], found["instruction_sets"]) == (processor, sets)
    assert found["threads"] == found["cores"] == (cores or found["logical_cores"])
    assert machine.describe(3)["threads"] == 3


def test_a_system_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, machine, "_PROCESSORS", "_SYSTEM")
    found = machine.describe(0)
    assert found["processor"]
    assert found["instruction_sets"] is None
    assert Busy.now() is None
    assert foreign_load(None, Busy(2.0, 1.0, 5.0)) is None


def test_foreign_load_is_what_others_used() -> None:
    before = Busy(everyone=100.0, own=10.0, clock=0.0)
    assert foreign_load(before, Busy(everyone=130.0, own=20.0, clock=10.0)) == pytest.approx(2.0)
    # Counters of the system tick more coarsely than ours.
    assert foreign_load(before, Busy(everyone=105.0, own=15.5, clock=10.0)) == 0.0


def test_rates_are_measured_at_the_sizes_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BEYOND_CACHE", 8 * MEGABYTE)
    meter = RateMeter([100, 3 * MEGABYTE, 900 * MEGABYTE, 0], [INT8], threads=2)
    meter.measure()
    first = dict(meter.rates.read)
    meter.measure()
    assert sorted(first) == [MEGABYTE, 3 * MEGABYTE, 4 * MEGABYTE, 8 * MEGABYTE]
    assert all(meter.rates.read[size] >= speed > 1e8 for size, speed in first.items())
    assert meter.rates.multiplied.keys() == {FP32, INT8}
    assert min(meter.rates.multiplied.values()) > 1e8
    # Beyond the caches, twice as much takes twice as long.
    assert meter.rates.reading(1800 * MEGABYTE) == pytest.approx(2 * meter.rates.reading(900 * MEGABYTE))


def test_the_floor_is_the_longer_of_reading_and_multiplying() -> None:
    speeds = Rates(read={4 * MEGABYTE: 1e9}, multiplied={"fp32": 1e9, "int8": 4e9})
    work = Work(4 * MEGABYTE, Counter({"fp32": 1_000_000, "int8": 2_000_000}), Counter({"int8": 1_000_000}))
    assert work.seconds(speeds, 1, 1) == pytest.approx(4 * MEGABYTE / 1e9)
    assert work.seconds(speeds, 100, 10) == pytest.approx((100e6 / 1e9) + (200e6 + 10e6) / 4e9)
    panels = Panels(work, work)
    assert panels.step(speeds, 100) == work.seconds(speeds, 100, 100)
    assert panels.first(speeds, 2, 50) == pytest.approx(work.seconds(speeds, 100, 0) + work.seconds(speeds, 2, 2))
    assert Panels(None, work).first(speeds, 2, 50) == work.seconds(speeds, 100, 2)
    assert Work().seconds(speeds, 5, 5) == 0


@pytest.mark.parametrize("content", [b"no graph", b"\x3a\x05ab"], ids=["no protobuf", "truncated"])
def test_a_damaged_graph_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx: not an ONNX file"):
        work_of(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("positions", "encodes", "given", "expected"),
    [
        ((None, None), True, (None, None), (SOURCE_LENGTH, NEW_TOKENS)),
        ((20, 30), True, (None, None), (20, 29)),
        ((20, 30), True, (7, 29), (7, 29)),
        ((None, 20), False, (None, None), (10, 10)),
        ((None, 20), False, (19, None), (19, 1)),
        ((None, None), False, (500, 600), (500, 600)),
        ((None, 1), True, (None, None), None),
        ((None, 20), False, (20, None), None),
        ((20, 30), True, (21, None), None),
    ],
)
def test_lengths_fit_the_model(
    positions: tuple[int | None, int | None],
    encodes: bool,
    given: tuple[int | None, int | None],
    expected: tuple[int, int] | None,
) -> None:
    manifest = SimpleNamespace(source_positions=positions[0], target_positions=positions[1])
    bundle: Any = SimpleNamespace(manifest=manifest)
    if expected is None:
        with pytest.raises(OptionError, match="does not fit"):
            _lengths(bundle, *given, encodes=encodes)
    else:
        assert _lengths(bundle, *given, encodes=encodes) == expected


class Counted:
    """A cell that takes so long by a clock that only it moves."""

    def __init__(self, clock: list[float], ran: list[str], name: str, seconds: float) -> None:
        self.clock, self.ran, self.name, self.seconds = clock, ran, name, seconds
        self.facts, self.works = {"batch": 2}, {}

    def runs(self) -> cells.Runs:
        return {self.name: self.run}

    def run(self) -> None:
        self.ran.append(self.name)
        self.clock[0] += self.seconds

    def told(self, seconds: cells.Seconds, rates: Rates | None) -> dict[str, Any]:
        return {"rounds": seconds[self.name]}


def test_cells_take_turns_and_short_ones_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ran, shown = [0.0], [], []
    monkeypatch.setattr(cells, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = cells.measured(
        [Counted(clock, ran, "long", 0.5), Counted(clock, ran, "short", 0.0045)],
        2,
        None,
        lambda *told: shown.append(told),
    )
    assert ran == ["long"] * 2 + ["short"] * 2 + (["long"] + ["short"] * 5) * 2
    assert [cell["rounds"] for cell in found] == [pytest.approx([0.5, 0.5]), pytest.approx([0.0045, 0.0045])]
    assert [done for done, _ in shown] == [0, 1, 2, 3, 4, 5]
    assert (shown[0][1], shown[5][1]) == ("warming up, batch 2", "round 2 of 2, batch 2")
    assert found[0].keys() == {"batch", "rounds", "peak_memory_bytes", "peak_memory_from"}


def test_statistics_of_few() -> None:
    assert cells.statistic([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    assert cells.rate(6, [2.0, 3.0]) == {"median": 2.4, "lowest": 2.0, "highest": 3.0}


def test_a_load_that_fails_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    assert fresh_load.fresh_load(tmp_path, SessionSettings()) is None
    monkeypatch.setattr("sys.executable", "")
    assert fresh_load.fresh_load(bundle, SessionSettings()) is None
