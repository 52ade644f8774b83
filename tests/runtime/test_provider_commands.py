"""`--provider` and what belongs to it on the command line, and what `diptych info` tells of a graph's nodes."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from diptych.runtime.errors import ProviderError
from diptych.runtime.info_command import command as info
from diptych.runtime.provider_options import provider_options
from diptych.runtime.providers import SessionSettings, available_providers

PROGRAM = str(Path(sys.executable).parent / "diptych")


@click.command()
@click.argument("words", nargs=-1)
@provider_options
def show(words: tuple[str, ...], settings: SessionSettings) -> None:
    """What a command gets."""
    click.echo(repr((words, settings)))


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(show, arguments)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((), SessionSettings()),
        (("--provider", "cuda,cpu", "--threads", "3"), SessionSettings("cuda,cpu", 3)),
        (("--strict-provider",), SessionSettings(strict=True)),
        (
            ("--provider-option", "a=1", "--provider-option", "b=c=d", "--provider-option", "e="),
            SessionSettings(options={"a": "1", "b": "c=d", "e": ""}),
        ),
    ],
)
def test_the_options_become_settings(arguments: tuple[str, ...], settings: SessionSettings) -> None:
    result = shown("one", *arguments, "two")
    assert result.output == f"{(('one', 'two'), settings)!r}\n"


@pytest.mark.parametrize("given", ["a", "=1", ""])
def test_an_option_without_a_key_or_a_value_is_a_mistake(given: str) -> None:
    result = shown("--provider-option", given)
    assert result.exit_code == 2
    assert "is not KEY=VALUE" in result.output


def test_info_tells_who_runs_what(bundle: Path) -> None:
    facts = json.loads(CliRunner().invoke(info, [str(bundle), "--json", "-"]).stdout)
    assert facts["placement"].keys() == facts["graphs"].keys()
    assert all(found.keys() == {"cpu"} and found["cpu"] > 50 for found in facts["placement"].values())
    assert facts["fallback"] == {}


def test_info_shows_who_runs_what(bundle: Path) -> None:
    text = CliRunner().invoke(info, [str(bundle)]).stdout
    count = json.loads(CliRunner().invoke(info, [str(bundle), "--json", "-"]).stdout)["placement"]["decoder.onnx"][
        "cpu"
    ]
    assert "decoder.onnx on" in text
    assert f"cpu {count} nodes" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provider", "cudda"), "did you mean cuda"),
        (("--provider-option", "a=1", "--provider-option", "b=2"), "none called a, b"),
        (("--provider", "acl"), "acl did not start"),
    ],
)
def test_info_refuses_what_sessions_refuse(bundle: Path, arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(info, [str(bundle), *arguments])
    assert isinstance(result.exception, ProviderError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_info_has_no_limit_on_what_it_does_not_do(bundle: Path) -> None:
    result = CliRunner().invoke(info, [str(bundle), "--memory-limit", "2GB"])
    assert result.exit_code == 2
    assert "--memory-limit" in result.output


def test_a_fallback_is_told_on_stderr_and_leaves_stdout_alone(bundle: Path) -> None:
    if "coreml" in available_providers():
        pytest.skip("this machine has what others lack")
    command = [PROGRAM, "info", str(bundle), "--json", "-", "--provider", "coreml,cpu"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0
    assert result.stderr.startswith("coreml did not start (the installed ONNX Runtime")
    assert result.stderr.endswith("; running on cpu\n")
    assert result.stderr.count("\n") == 1, "told once, for all graphs"
    assert set(json.loads(result.stdout)["placement"]["decoder.onnx"]) == {"cpu"}


def test_a_provider_that_is_not_there_ends_with_2(bundle: Path) -> None:
    command = [PROGRAM, "info", str(bundle), "--provider", "acl"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: acl did not start: ")
