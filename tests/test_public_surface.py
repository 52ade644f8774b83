"""What `__all__` promises is there, is documented, and is all that there is."""

import inspect
from importlib import import_module

import pytest

SURFACE = {
    "diptych.model": {
        "Checkpoint", "CheckpointError", "CheckpointNotFoundError", "DecoderOnly", "EncoderDecoder", "EncoderOnly",
        "Network", "load_checkpoint", "make_network",
    },
    "diptych.export": {
        "ExportError", "ParityError", "Report", "TargetExistsError", "export_checkpoint", "verify_bundle",
    },
    "diptych.runtime": {
        "Answer", "Answerer", "BundleError", "BundleNotFoundError", "Candidate", "Classification", "Classifier",
        "DiptychError", "Embedder", "EngineError", "Entity", "Filled", "Filler", "GeneratedText", "GenerationOptions",
        "Generator", "Hypothesis", "InputError", "OptionError", "Progress", "Prompt", "ProviderError", "Scored", "Span",
        "Tagger", "Tags", "TextGenerator", "load", "load_generator",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", SURFACE)
def test_the_public_names_are_these(package: str) -> None:
    assert set(import_module(package).__all__) == SURFACE[package]


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in SURFACE for name in sorted(SURFACE[package])]
)
def test_every_public_name_exists_and_is_documented(package: str, name: str) -> None:
    value = getattr(import_module(package), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__, f"{package}.{name} has no docstring"
        assert not value.__doc__.startswith(f"{name}("), f"{package}.{name} has only a generated docstring"


@pytest.mark.parametrize("package", SURFACE)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError):
        _ = import_module(package).no_such_name
