"""The file of weights: mapped once for all sessions over it, and as long as they are there."""

import gc
from pathlib import Path

import pytest

from diptych.runtime import load_generator, ports, weights
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import make_session
from diptych.runtime.weights import weights_beside

borrows = pytest.mark.skipif(
    tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31), reason="this ONNX Runtime would copy them"
)
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
