"""Execution providers by their short names or ONNX Runtime's own."""

from dataclasses import dataclass

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.errors import ProviderError

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True)
class SessionSettings:
    """How sessions are made: the provider, intra-op threads (0 = one per core), and whether the CPU may help out.

    lean: matrices stay in the mapped file, of which ONNX Runtime else keeps copies, transposed or in the order that its
    kernels like best, and memory goes back to the system after each run.
    """

    provider: str = "cpu"
    threads: int = 0
    strict: bool = False
    lean: bool = False


def available_providers() -> list[str]:
    """Short names of the providers in the installed ONNX Runtime: `cpu`, `cuda`, …"""
    return [name.removesuffix(_SUFFIX).lower() for name in ort.get_available_providers()]


def provider_name(name: str) -> str:
    """ONNX Runtime's name of a provider; raises ProviderError, listing those there are, if it is not among them."""
    for full in ort.get_available_providers():
        if name.lower() in (full.lower(), full.removesuffix(_SUFFIX).lower()):
            return str(full)
    raise ProviderError(
        f"no execution provider {name!r} in this ONNX Runtime; available: {', '.join(available_providers())}"
    )


def check_provider(requested: str, active: list[str]) -> None:
    """ONNX Runtime falls back to the CPU without an error; this is the error."""
    if active[0] != requested:
        raise ProviderError(
            f"{requested} did not start (its driver or libraries may be missing); ONNX Runtime offers {active[0]} "
            f"instead. Use --provider {active[0].removesuffix(_SUFFIX).lower()}, or repair the installation"
        )
