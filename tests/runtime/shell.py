"""The command line as a shell sees it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "diptych")
QUICK = ("--threads", "1", "--num-beams", "1", "--max-new-tokens", "12")
TEXTS = ["How are you?", "Thank you.", "I love you very much.", "Where is the station?"]

Result = subprocess.CompletedProcess[bytes]


def diptych(*arguments: str | Path, stdin: bytes = b"") -> Result:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=environment | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        timeout=120,
        check=False,
    )


def run(bundle: Path, *arguments: str | Path, stdin: bytes = b"") -> Result:
    return diptych("run", bundle, *QUICK, *arguments, stdin=stdin)


def lines(result: Result) -> list[str]:
    text = result.stdout.decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def as_input(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def assert_fails(result: Result, status: int, *parts: str) -> str:
    """One message, no traceback, nothing on stdout."""
    message = result.stderr.decode()
    assert "Traceback" not in message
    assert result.returncode == status, message
    assert result.stdout == b""
    for part in parts:
        assert part in message
    return message


def assert_works(result: Result) -> list[str]:
    assert (result.returncode, result.stderr) == (0, b"")
    return lines(result)
