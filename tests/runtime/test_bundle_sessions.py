"""The sessions that a bundle's graphs become."""

from dataclasses import replace
from pathlib import Path

import pytest

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import BundleError, ProviderError
from diptych.runtime.providers import SessionSettings

ONE_THREAD = SessionSettings(threads=1)


def without(bundle: Path, name: str) -> Bundle:
    opened = Bundle.open(bundle)
    files = {file: digest for file, digest in opened.manifest.files.items() if file != name}
    return replace(opened, manifest=replace(opened.manifest, files=files))


def test_there_is_one_for_each_graph(bundle: Path) -> None:
    assert set(Bundle.open(bundle).sessions(ONE_THREAD)) == {ports.ENCODER_FILE, ports.DECODER_FILE}


@pytest.mark.parametrize(
    ("missing", "wanted", "there"),
    [(ports.ENCODER_FILE, ports.ENCODER_FILE, ports.DECODER_FILE), (ports.DECODER_FILE, ports.MODEL_FILE, "encoder")],
)
def test_a_graph_that_is_missing_is_named(bundle: Path, missing: str, wanted: str, there: str) -> None:
    with pytest.raises(BundleError, match=f"no {wanted}, but {there}"):
        without(bundle, missing).decoder(ONE_THREAD)


def test_a_pair_is_no_model(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"no model\.onnx, but encoder\.onnx, decoder\.onnx"):
        Bundle.open(bundle).model(ONE_THREAD)


def test_all_graphs_run_on_the_same_provider(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder would start on the first; the decoder does not, and takes the encoder along."""
    from diptych.runtime import bundle as module

    tried: list[tuple[str, str]] = []

    def open_graph(path: Path, settings: SessionSettings, *, optimized: bool) -> str:
        assert optimized
        tried.append((path.name, settings.provider))
        if (path.name, settings.provider) == (ports.DECODER_FILE, "CUDAExecutionProvider"):
            raise ProviderError("cuda did not start: no memory is left")
        return f"{path.name} on {settings.provider}"

    monkeypatch.setattr(module, "OrtGraph", open_graph)
    found = Bundle.open(bundle).sessions(SessionSettings("cuda,cpu"))
    assert set(found.values()) == {f"{name} on CPUExecutionProvider" for name in found}
    assert len(tried) == 4
