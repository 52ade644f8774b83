"""Models made once, and the record of what was proven about each."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import recording
import transformers
from families.case import Case
from families.twins import Engine, MakeTwins, Record, Twins, make_reference


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """transformers warns of options it was given on purpose."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def make_twins(tmp_path_factory: pytest.TempPathFactory) -> MakeTwins:
    made: dict[str, Twins] = {}

    def make(case: Case) -> Twins:
        if str(case) not in made:
            folder = tmp_path_factory.mktemp("family") / "checkpoint"
            reference = make_reference(case)
            reference.save_pretrained(folder)
            made[str(case)] = Twins(reference, folder)
        return made[str(case)]

    return make


@pytest.fixture(scope="session")
def proofs() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    yield found
    recording.keep(found)


@pytest.fixture
def record(proofs: list[dict[str, Any]]) -> Record:
    """To be called last in a test, when it has passed: which engine gives what, of a model so stored."""

    def note(case: Case, engine: Engine, proof: str, layout: str = "safetensors") -> None:
        where = {"family": case.family, "task": case.task, "configuration": case.name, "layout": layout}
        proofs.append({**where, "engine": engine, "proof": proof})

    return note
