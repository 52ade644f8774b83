"""Models made once, and the record of what was proven about each."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers
from families.case import Case
from families.matrix import RECORD
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
def proofs() -> Iterator[list[dict[str, str]]]:
    found: list[dict[str, str]] = []
    yield found
    if os.environ.get(RECORD):
        lines = [json.dumps(proof, ensure_ascii=False, sort_keys=True) for proof in found]
        with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))


@pytest.fixture
def record(proofs: list[dict[str, str]]) -> Record:
    """To be called last in a test, when it has passed: which engine gives what, of a model so stored."""

    def note(case: Case, engine: Engine, proof: str, layout: str = "safetensors") -> None:
        where = {"family": case.family, "task": case.task, "configuration": case.name, "layout": layout}
        proofs.append({**where, "engine": engine, "proof": proof})

    return note
