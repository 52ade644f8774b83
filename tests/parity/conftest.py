"""Healthy bundles of small models, each exported once, and the record of what was found in faulty ones."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import recording
from parity.injection import Healthy


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Healthy]:
    """By its name in `parity.faults.MODELS`."""
    from families.twins import make_reference
    from parity.faults import EXPORTED, MODELS, WITH_TEXTS
    from tiny_checkpoints import write_tokenizer

    from diptych.export import export_checkpoint

    @cache
    def make(model: str) -> Healthy:
        folder = tmp_path_factory.mktemp(model.replace(", ", "-"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # transformers' about options that were given on purpose.
            make_reference(MODELS[model]).save_pretrained(folder / "checkpoint")
        if model in WITH_TEXTS:
            write_tokenizer(folder / "checkpoint" / "tokenizer.json")
        export_checkpoint(folder / "checkpoint", folder / "bundle", verify=False, **EXPORTED.get(model, {}))
        return Healthy(folder / "checkpoint", folder / "bundle")

    return make


@pytest.fixture(scope="session")
def found() -> Iterator[list[dict[str, Any]]]:
    """To be kept when all tests are done."""
    kept: list[dict[str, Any]] = []
    yield kept
    recording.keep(kept)
