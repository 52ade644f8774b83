"""A cache of ONNX Runtime's values, on the CPU and on a GPU where there is one, against arrays."""

from pathlib import Path

import numpy as np
import pytest
from mixing import Mix

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.device_memory import DeviceMemory, memory_of
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.errors import EngineError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.graph import Array, OrtGraph
from diptych.runtime.memory import Entries, HostMemory
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import Device

CPU = Device("cpu", 0, "CPUExecutionProvider")
CUDA = Device("cuda", 0, "CUDAExecutionProvider")
HOST = HostMemory()


def has_gpu() -> bool:
    """Whether ONNX Runtime has CUDA and can use it."""
    if CUDA.provider not in ort.get_available_providers():
        return False
    try:
        DeviceMemory(CUDA).select(there(CUDA, random_entries(1, 1)), np.array([0]))
    except Exception:  # noqa: BLE001  # Whatever it lacks.
        return False
    return True


def random_entries(rows: int, length: int, dtype: type = np.float32, names: int = 3) -> dict[str, Array]:
    """Each with heads and a head width of its own."""
    random = np.random.default_rng(rows * 100 + length)
    return {
        f"past.{name}": random.normal(size=(rows, 2 + name, length, 3 + name)).astype(dtype) for name in range(names)
    }


def there(device: Device, entries: dict[str, Array]) -> Entries:
    make = ort.OrtValue.ortvalue_from_numpy
    return {name: make(value, device.kind, device.number) for name, value in entries.items()}


@pytest.fixture(scope="module", params=[CPU, CUDA], ids=lambda device: device.kind)
def device(request: pytest.FixtureRequest) -> Device:
    chosen: Device = request.param
    if chosen is CUDA and not has_gpu():
        pytest.skip("no GPU that ONNX Runtime can use")
    return chosen


@pytest.fixture(scope="module")
def memory(device: Device) -> DeviceMemory:
    return DeviceMemory(device)


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1, 1, 1, 0], [2], []])
def test_rows_are_selected(memory: DeviceMemory, rows: list[int], dtype: type) -> None:
    entries, chosen = random_entries(3, 4, dtype), np.array(rows, dtype=np.int64)
    found = memory.arrays(memory.select(there(memory.device, entries), chosen))
    assert_same(found, HOST.select(entries, chosen))


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 4), (0, 2), (3, 4), (0, 0), (4, 4)])
def test_tokens_are_cropped(memory: DeviceMemory, start: int, stop: int) -> None:
    entries = random_entries(3, 4)
    found = memory.arrays(memory.crop(there(memory.device, entries), start, stop))
    assert_same(found, HOST.crop(entries, start, stop))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(
    ("first", "second"), [((2, 4), (3, 4)), ((2, 4), (1, 1)), ((1, 2), (2, 5)), ((1, 0), (2, 3)), ((2, 3), (1, 0))]
)
def test_rows_are_joined(
    memory: DeviceMemory, first: tuple[int, int], second: tuple[int, int], left: bool, dtype: type
) -> None:
    one, other = random_entries(*first, dtype), random_entries(*second, dtype)
    found = memory.join(there(memory.device, one), there(memory.device, other), left=left)
    assert_same(memory.arrays(found), HOST.join(one, other, left=left))


@pytest.mark.parametrize("left", [True, False])
def test_rows_are_joined_where_all_have_left(memory: DeviceMemory, left: bool) -> None:
    one, other = random_entries(0, 0), random_entries(2, 3)
    for pair in ((one, other), (other, one)):
        found = memory.join(*(there(memory.device, entries) for entries in pair), left=left)
        assert_same(memory.arrays(found), other)
    nothing = memory.join(there(memory.device, one), there(memory.device, one), left=left)
    assert_same(memory.arrays(nothing), one)


def test_nothing_is_no_trouble(memory: DeviceMemory) -> None:
    """As of a model that looks back at nothing."""
    assert memory.select({}, np.array([0])) == memory.crop({}, 0, 1) == memory.join({}, {}, left=True) == {}


def on_host_and_device(bundle: Path, device: Device) -> tuple[CachedDecoder, CachedDecoder]:
    settings = SessionSettings(device.kind, 1)
    graphs = Bundle.open(bundle).sessions(settings)
    encoder, decoder = graphs[ports.ENCODER_FILE], graphs[ports.DECODER_FILE]
    return CachedDecoder(encoder, decoder, HOST), CachedDecoder(encoder, decoder, DeviceMemory(device))


def test_the_cache_lies_where_the_graph_computes(bundle: Path, device: Device) -> None:
    decoder = Bundle.open(bundle).decoder(SessionSettings(device.kind, 1))
    assert isinstance(decoder.decoder, OrtGraph)
    assert isinstance(decoder.memory, HostMemory if device is CPU else DeviceMemory)
    assert isinstance(memory_of(decoder.decoder), type(decoder.memory))


def test_entries_stay_on_the_device(bundle: Path, device: Device) -> None:
    _, decoder = on_host_and_device(bundle, device)
    state = decoder.start(Sources.pad([[5, 6, 2], [7, 2]], 0), 2)
    for _ in range(2):
        decoder.step(state, np.full((4, 1), 9))
        decoder.select(state, np.array([1, 0, 2, 2]))
    values = [*state.cross.values(), *state.past.values()]
    assert len(values) == 8
    assert {value.device_name() for value in values} == {device.kind}


@pytest.mark.parametrize("options", [{}, {"num_beams": 4, "num_return_sequences": 2}], ids=["greedy", "beam"])
def test_ids_and_scores_are_those_of_the_host(bundle: Path, device: Device, options: dict[str, int]) -> None:
    random = np.random.default_rng(3)
    sources = [[*random.integers(5, 1000, length).tolist(), 3] for length in (4, 1, 9, 14, 2)]
    manifest = Bundle.open(bundle).manifest
    host, there = (Generator(decoder, manifest) for decoder in on_host_and_device(bundle, device))
    expected = host(sources, max_new_tokens=16, **options)
    found = there(sources, max_new_tokens=16, **options)
    assert len({tuple(best.ids) for best, *_ in expected}) == len(sources)
    for ours, theirs in zip(found, expected, strict=True):
        assert [each.ids for each in ours] == [each.ids for each in theirs]
        np.testing.assert_allclose([each.score for each in ours], [each.score for each in theirs], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_real_graph_decodes_rows_as_if_alone_whatever_happens(bundle: Path, device: Device, seed: int) -> None:
    host, there = (Mix(decoder, 1000, seed) for decoder in on_host_and_device(bundle, device))
    for _ in range(8):
        logits = there.turn()
        np.testing.assert_allclose(logits, host.turn(), atol=1e-4)
    np.testing.assert_allclose(logits, host.expected(), atol=2e-4)
    cached = there.decoder.memory.arrays(there.state.past)
    expected = host.decoder.memory.arrays(host.state.past)
    for name, value in expected.items():
        np.testing.assert_allclose(cached[name], value, atol=1e-4)


def logits_with_ties(rows: int, vocabulary: int, dtype: type) -> Array:
    """Of few levels, so that there are many of a kind everywhere, where the best end, too."""
    random = np.random.default_rng(rows * vocabulary)
    found = (random.integers(-9, 9, (rows, 2, vocabulary)) / 2).astype(dtype)
    found[:, :, random.integers(0, vocabulary, 3)] = -np.inf
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("vocabulary", [7, 1000, 8000, 58101])
@pytest.mark.parametrize(("rows", "count"), [(1, 1), (1, 8), (3, 2), (16, 8), (128, 8), (2, 64), (5, 500)])
def test_the_best_are_found_on_the_device(
    memory: DeviceMemory, rows: int, count: int, vocabulary: int, dtype: type
) -> None:
    logits, asked = logits_with_ties(rows, vocabulary, dtype), np.array([6, 0])
    (value,) = there(memory.device, {"logits": logits}).values()
    found, expected = memory.ranked(value, count, asked), HOST.ranked(logits, count, asked)
    np.testing.assert_array_equal(found.tokens, expected.tokens, strict=True)
    np.testing.assert_array_equal(found.logits, expected.logits, strict=True)
    np.testing.assert_array_equal(found.asked, expected.asked, strict=True)
    np.testing.assert_allclose(found.log_sum, expected.log_sum, rtol=1e-6, strict=True)


def test_what_is_no_number_shows(memory: DeviceMemory) -> None:
    logits, nothing = logits_with_ties(4, 1000, np.float32), np.array([], dtype=np.int64)
    logits[1, 1, 3], logits[2] = np.nan, -np.inf
    (value,) = there(memory.device, {"logits": logits}).values()
    found, expected = memory.ranked(value, 1, nothing), HOST.ranked(logits[[0, 2, 3]], 1, nothing)
    assert np.isnan(found.log_sum).tolist() == [False, True, False, False]
    np.testing.assert_allclose(found.log_sum[[0, 2, 3]], expected.log_sum, rtol=1e-6)
    assert found.asked.shape == (4, 0)


def test_a_ranking_that_fails_is_told(device: Device) -> None:
    if device is CUDA:
        pytest.skip("its Gather gives zeros for what there is not")
    (value,) = there(device, {"logits": logits_with_ties(2, 7, np.float32)}).values()
    with pytest.raises(EngineError, match="the best tokens cannot be found on cpu:0: "):
        DeviceMemory(device).ranked(value, 1, np.array([7]))
