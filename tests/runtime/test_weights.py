"""The file of weights: mapped once for all sessions over it, and as long as they are there."""

import gc
import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from diptych.runtime import EngineError, load_generator, ports, weights
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.graph import OrtGraph
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import make_session
from diptych.runtime.tables import Table
from diptych.runtime.weights import Weights, weights_beside

borrows = pytest.mark.skipif(
    tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31), reason="this ONNX Runtime would copy them"
)


def populates() -> bool:
    """Whether the system reads pages into a private mapping when told to: Linux from 5.14."""
    if sys.platform != "linux":
        return False
    try:
        mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE).madvise(weights._MADV_POPULATE_WRITE)
    except OSError:
        return False
    return True


by_page = pytest.mark.skipif(not populates(), reason="rows are read as they come")
ONE_THREAD = SessionSettings(threads=1)


@borrows
def test_sessions_over_the_same_file_share_it(bundle: Path) -> None:
    encoder = make_session(bundle / ports.ENCODER_FILE, ONE_THREAD)
    mapped = weights_beside(bundle / ports.DECODER_FILE)
    assert mapped is not None
    decoder = make_session(bundle / ports.DECODER_FILE, ONE_THREAD)
    assert weights._kept[encoder] is weights._kept[decoder] is mapped


@borrows
def test_it_goes_with_the_last_session(bundle: Path) -> None:
    gc.collect()
    before = len(weights._mapped)
    session = make_session(bundle / ports.ENCODER_FILE, ONE_THREAD)
    # Others' sessions over the same bundle may live on.
    assert len(weights._mapped) in {before, before + 1}
    del session
    gc.collect()
    assert len(weights._mapped) == before


@borrows
def test_a_file_that_was_replaced_is_mapped_anew(tmp_path: Path) -> None:
    path = tmp_path / ports.WEIGHTS_FILE
    path.write_bytes(bytes(4096))
    first = weights_beside(tmp_path / ports.MODEL_FILE)
    assert first is not None
    assert weights_beside(tmp_path / ports.ENCODER_FILE) is first
    other = tmp_path / "other"
    other.write_bytes(bytes(8192))
    other.replace(path)
    assert weights_beside(tmp_path / ports.MODEL_FILE) not in {None, first}


def test_nothing_is_mapped_where_nothing_is(tmp_path: Path) -> None:
    assert weights_beside(tmp_path / ports.MODEL_FILE) is None
    (tmp_path / ports.WEIGHTS_FILE).touch()
    assert weights_beside(tmp_path / ports.MODEL_FILE) is None


def test_older_versions_map_it_themselves(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = [[5, 6, 7]]
    expected = load_generator(bundle, threads=1)(source, max_new_tokens=4)
    monkeypatch.setattr(ort, "__version__", "1.30.2")
    assert weights_beside(bundle / ports.ENCODER_FILE) is None
    assert load_generator(bundle, threads=1)(source, max_new_tokens=4) == expected


def graph_of(bundle: Path, file: str = ports.DECODER_FILE) -> OrtGraph:
    return OrtGraph(bundle / file, ONE_THREAD)


@borrows
@by_page
def test_rows_are_shared_by_graphs_with_the_same_embedding(bundle: Path) -> None:
    encoder, decoder = graph_of(bundle, ports.ENCODER_FILE), graph_of(bundle)
    rows = encoder._embeddings
    assert rows is not None
    assert rows is decoder._embeddings
    encoder.fetch_rows({ports.INPUT_IDS: np.array([[3, 5], [5, 0]])})
    assert np.flatnonzero(rows._read).tolist() == [0, 3, 5]


@borrows
@by_page
def test_rows_that_are_none_are_passed_over(bundle: Path) -> None:
    rows = graph_of(bundle)._embeddings
    assert rows is not None
    last = len(rows._read) - 1
    for ids in ([], [last + 1, 1 << 40], [-5], [[last]]):
        rows.fetch(np.array(ids, dtype=np.int64))
    assert set(np.flatnonzero(rows._read).tolist()) <= {0, last}


@borrows
def test_ids_outside_the_vocabulary_are_the_engine_s_error(bundle: Path) -> None:
    encoder = graph_of(bundle, ports.ENCODER_FILE)
    ids = np.array([[5, 1 << 20]])
    with pytest.raises(EngineError, match=r"ONNX Runtime failed: .*indices element out of data bounds"):
        encoder.run({ports.INPUT_IDS: ids, ports.ATTENTION_MASK: np.ones_like(ids)})


@borrows
@by_page
def test_a_row_takes_its_pages_alone(tmp_path: Path) -> None:
    path, row, count = tmp_path / ports.WEIGHTS_FILE, 3000, 1000
    content = np.random.default_rng(0).bytes(row * count)
    path.write_bytes(content)
    found = Weights(path)
    rows = found.rows((Table(0, row, count),))
    for number in (0, 500, 999):
        rows.fetch(np.array([number]))
        assert found._map[row * number : row * (number + 1)] == content[row * number : row * (number + 1)]
    maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    (own,) = [int(re.findall(r"Anonymous: +(\d+) kB", part)[0]) for part in maps if str(path) in part.split("\n", 1)[0]]
    assert 0 < own <= 6 * mmap.PAGESIZE >> 10


@borrows
@by_page
def test_what_was_let_go_is_fetched_again(bundle: Path) -> None:
    decoder = graph_of(bundle)
    rows = decoder._embeddings
    assert rows is not None
    rows.fetch(np.array([7]))
    another = graph_of(bundle)
    assert another._embeddings is rows
    assert not rows._read.any()


@borrows
def test_a_system_that_cannot_reads_them_as_they_come(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = [[5, 6, 7]]
    expected = load_generator(bundle, threads=1)(source, max_new_tokens=4)
    monkeypatch.setattr(weights, "_MADV_POPULATE_WRITE", 1 << 20)
    assert load_generator(bundle, threads=1)(source, max_new_tokens=4) == expected
    monkeypatch.setattr(weights.sys, "platform", "darwin")
    weights._mapped.clear()
    assert load_generator(bundle, threads=1)(source, max_new_tokens=4) == expected
