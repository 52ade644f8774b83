"""Bundles with a file that is missing, damaged or altered: one message that names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shell import TEXTS, assert_fails, assert_works, diptych, run

Damage = Callable[[bytes], bytes | None]


def removed(_: bytes) -> None:
    return None


def emptied(_: bytes) -> bytes:
    return b""


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def shortened(content: bytes) -> bytes:
    return content[:-1]


def lengthened(content: bytes) -> bytes:
    return content + b"\0"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def flipped_first(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def not_text(content: bytes) -> bytes:
    return b"\xff" + content


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Callable[[str, Damage], Path]:
    """A bundle of links to the real one's files, in which one is replaced or gone."""

    def make(name: str, damage: Damage) -> Path:
        folder = tmp_path / "copy"
        folder.mkdir()
        for path in bundle.iterdir():
            (folder / path.name).symlink_to(path)
        content = damage((bundle / name).read_bytes())
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        return folder

    return make


FILES = ["encoder.onnx", "decoder.onnx", "tokenizer.json", "config.json", "generation_config.json"]
DAMAGED = [
    *[(name, damage) for name in FILES for damage in (removed, truncated, flipped)],
    *[("weights.data", damage) for damage in (removed, emptied, truncated, shortened, lengthened)],
    *[("diptych.json", damage) for damage in (removed, emptied, truncated, flipped_first, not_text)],
]


@pytest.mark.parametrize(("name", "damage"), DAMAGED, ids=[f"{name}-{damage.__name__}" for name, damage in DAMAGED])
def test_a_damaged_file_is_named(copy: Callable[[str, Damage], Path], name: str, damage: Damage) -> None:
    folder = copy(name, damage)
    message = assert_fails(run(folder, "Hello."), 1, name)
    assert message.startswith("Error: ")
    assert not [other for other in [*FILES, "weights.data"] if f"/{other}" in message and other != name]
    assert len(message) < 1000


def test_info_names_a_damaged_file_too(copy: Callable[[str, Damage], Path]) -> None:
    assert_fails(diptych("info", copy("decoder.onnx", flipped)), 1, "decoder.onnx")


def test_an_undamaged_copy_works(copy: Callable[[str, Damage], Path], bundle: Path) -> None:
    assert assert_works(run(copy("config.json", lambda content: content), *TEXTS)) == assert_works(run(bundle, *TEXTS))


def edited(**changes: Any) -> Damage:
    def damage(content: bytes) -> bytes:
        values = {**json.loads(content), **changes}
        return json.dumps({key: value for key, value in values.items() if value is not ...}).encode()

    return damage


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"format_version": 1}, "1"),
        ({"format_version": 99}, "99"),
        ({"format_version": "1"}, "format version"),
        ({"format_version": ...}, "format version"),
        ({"tokens": ...}, "tokens"),
        ({"tokens": {"pad": 0}}, ""),
        ({"tokens": 5}, ""),
        ({"surprise": 1}, "surprise"),
        ({"tensors": []}, ""),
        ({"tensors": {"a": {"dtype": "FLOAT", "shape": [1], "offset": "0", "length": 4, "sha256": ""}}}, ""),
        ({"files": []}, ""),
        ({"source_positions": "256"}, ""),
        ({"target_positions": [256]}, ""),
        ({"generation": {"num_beams": "four"}}, "num_beams"),
        ({"generation": {"num_beem": 4}}, "num_beem"),
        ({"generation": []}, ""),
    ],
    ids=str,
)
def test_a_manifest_that_is_not_one_is_named(
    copy: Callable[[str, Damage], Path], changes: dict[str, Any], part: str
) -> None:
    assert_fails(run(copy("diptych.json", edited(**changes)), "Hello."), 1, "diptych.json", part)


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"text"', b"{}"])
def test_a_manifest_of_other_json_is_named(copy: Callable[[str, Damage], Path], content: bytes) -> None:
    assert_fails(run(copy("diptych.json", lambda _: content), "Hello."), 1, "diptych.json")


@pytest.mark.parametrize("damage", [truncated, emptied, not_text, lambda _: b"{}", lambda _: b"[]"])
def test_a_damaged_verification_is_told_by_info(
    bundle: Path, copy: Callable[[str, Damage], Path], damage: Damage
) -> None:
    if not (bundle / "verification.json").is_file():
        pytest.skip("the bundle was exported without verification")
    result = diptych("info", copy("verification.json", damage))
    assert_fails(result, 1, "verification.json")


def test_a_bundle_without_verification_works(bundle: Path, copy: Callable[[str, Damage], Path]) -> None:
    if not (bundle / "verification.json").is_file():
        pytest.skip("the bundle was exported without verification")
    folder = copy("verification.json", removed)
    assert assert_works(run(folder, *TEXTS)) == assert_works(run(bundle, *TEXTS))
    assert "verified" in "\n".join(assert_works(diptych("info", folder)))
