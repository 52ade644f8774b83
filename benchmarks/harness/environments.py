"""Environments of systems that cannot live beside diptych's: made once, from `environments/NAME.txt`."""

import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

from harness.folders import BENCHMARKS, BUILD


class InstallError(RuntimeError):
    """pip could not install a system; the message has pip's last line."""


@cache
def python_of(name: str) -> Path:
    """The Python of an environment, which is made if it is not there or its requirements changed; "" is this one."""
    if not name:
        return Path(sys.executable)
    requirements, folder = BENCHMARKS / "environments" / f"{name}.txt", BUILD / "venvs" / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if not installed.is_file() or installed.read_text() != requirements.read_text():
        print(f"making the environment {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallError(f"{name}: pip install failed: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
        installed.write_text(requirements.read_text())
    return python
