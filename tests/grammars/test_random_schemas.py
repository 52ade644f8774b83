"""Models that know nothing obey two hundred schemas; `jsonschema` is the judge."""

import json
from typing import Any

import numpy as np
import pytest
from grammar_tokenizers import byte_level, load
from grammars.random_model import random_generator
from grammars.random_schemas import random_schema

from diptych.runtime.generation.generator import Generator

pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema")

SEED, SCHEMAS = 20, 200
WORDS = ['{"', '":', '",', '"}', '["', '"]', "true", "null", "Ġ", "Ġ{", "Ġ[", "12", "25", "red", "ja", "Ã©", "Ġa", "ab"]


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> list[Generator]:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = load(byte_level(*dict.fromkeys(word for word in WORDS if len(word) > 1)), folder)
    return [random_generator(tokenizer, encodes=encodes) for encodes in (False, True)]


def schemas() -> list[Any]:
    rng = np.random.default_rng(SEED)
    return [random_schema(rng) for _ in range(SCHEMAS)]


def test_the_schemas_are_valid_and_of_every_kind() -> None:
    text = json.dumps(schemas())
    for schema in schemas():
        jsonschema.Draft202012Validator.check_schema(schema)
    words = (
        "enum",
        "const",
        "anyOf",
        "prefixItems",
        "pattern",
        "format",
        "$ref",
        "multipleOf",
        "required",
        "maxLength",
    )
    assert [word for word in words if f'"{word}"' not in text] == []


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "top_k": 5, "seed": 1}], ids=str)
@pytest.mark.parametrize("part", range(4))
def test_every_result_obeys_its_schema(generators: list[Generator], options: dict[str, Any], part: int) -> None:
    lengths = []
    for number, schema in list(enumerate(schemas()))[part::4]:
        generator = generators[number % 2]
        assert generator.tokenizer is not None
        sources = [[5 + number], [6, 7, number]]
        for found, *_ in generator(sources, json_schema=schema, **options):
            assert found.ids[-1] in generator.manifest.tokens.eos, "the text is complete"
            text = generator.tokenizer.decode(found.ids)
            value = json.loads(text)
            jsonschema.Draft202012Validator(schema).validate(value)
            assert "\n" not in text
            lengths.append(len(found.ids))
    assert len(set(lengths)) > 10


def test_without_a_schema_nothing_of_the_kind_is_said(generators: list[Generator]) -> None:
    for found, *_ in generators[0]([[5], [6, 7]], max_new_tokens=20):
        assert generators[0].tokenizer is not None
        with pytest.raises(ValueError, match=r"Expecting|Extra|Invalid|Unterminated"):
            json.loads(generators[0].tokenizer.decode(found.ids))


def test_a_text_that_the_limit_cuts_off_does_not_end_with_an_eos(generators: list[Generator]) -> None:
    schema = {"type": "array", "items": {"type": "integer", "minimum": 100, "maximum": 999}, "minItems": 9}
    ends = generators[0].manifest.tokens.eos
    for options in ({}, {"num_beams": 3}):
        ((found, *_),) = generators[0]([[5]], json_schema=schema, max_new_tokens=8, **options)
        assert len(found.ids) == 8
        assert not set(found.ids) & set(ends)


def test_beams_that_the_limit_cuts_off_do_not_stand_beside_complete_ones(generators: list[Generator]) -> None:
    eos = generators[1].manifest.tokens.eos[0]
    options = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 0.0, "forced_eos_token_id": eos}
    numbers = []
    for limit in (3, 9):
        found = generators[1]([[5], [6, 7], [8]], regex="[ab]{2,3}|[a-z]{8,12}", max_new_tokens=limit, **options)
        for hypotheses in found:
            complete = [hypothesis.ids[-1] == eos for hypothesis in hypotheses]
            assert all(complete) or not any(complete)
            numbers.append((any(complete), len(hypotheses)))
    assert (False, 4) in numbers
    assert any(complete for complete, _ in numbers)


def test_results_do_not_depend_on_who_else_is_decoded(generators: list[Generator]) -> None:
    schema = {"type": "array", "items": {"enum": ["red", "ja", 12, True]}, "maxItems": 5}
    sources = [[5], [6, 7, 8], [9, 9], [10], [11, 5, 6, 7], [3, 4]]
    for generator in generators:
        for options in ({}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 3}):
            together = generator(sources, json_schema=schema, batch_size=3, **options)
            alone = [generator([source], json_schema=schema, **options)[0] for source in sources]
            assert [found[0].ids for found in together] == [found[0].ids for found in alone]
    lookup = generators[0](sources, json_schema=schema, prompt_lookup_num_tokens=3)
    assert [found[0].ids for found in lookup] == [found[0].ids for found in generators[0](sources, json_schema=schema)]
