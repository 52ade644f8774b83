"""Rotary positions as configurations describe them: `rope_parameters`, or earlier `rope_theta` and `rope_scaling`."""

import math

from diptych.model import architecture as arch
from diptych.model.config import Config

KINDS = {kind: kind for kind in ("default", "linear", "dynamic", "yarn", "llama3")}


def rotary(config: Config, context: int) -> arch.Rotary:
    """context: max_position_embeddings. Raises CheckpointError for a kind, or a key of one, that is not supported."""
    base = config.get("rope_theta", float, 10000.0)
    key = "rope_parameters" if config.values.get("rope_parameters") else "rope_scaling"
    config.pass_over("rope_parameters")
    config.pass_over("rope_scaling")
    config.refuse("partial_rotary_factor", 1.0, "but the whole head must turn")
    scaling = config.section(key)
    scaling.refuse("partial_rotary_factor", 1.0, "but the whole head must turn")
    base = scaling.get("rope_theta", float, base)
    kind = scaling.choose("rope_type", KINDS, scaling.choose("type", KINDS, "default"))
    return arch.Rotary(base, _scaling(scaling, kind, context))


def _scaling(
    values: Config, kind: str, context: int
) -> arch.Interpolated | arch.Dynamic | arch.Yarn | arch.Llama3 | None:
    trained = values.size("original_max_position_embeddings", context)
    match kind:
        case "linear":
            return arch.Interpolated(values.get("factor", float))
        case "dynamic":
            return arch.Dynamic(values.get("factor", float), context)
        case "llama3":
            low, high = values.get("low_freq_factor", float), values.get("high_freq_factor", float)
            return arch.Llama3(values.get("factor", float), trained, low, high)
        case "yarn":
            factor = values.get("factor", float, context / trained)
            return arch.Yarn(
                factor,
                trained,
                _magnitude(values, factor),
                values.get("beta_fast", float, 32.0),
                values.get("beta_slow", float, 1.0),
                values.get("truncate", bool, True),
            )
        case _:
            values.pass_over("factor")
            return None


def _magnitude(values: Config, factor: float) -> float:
    """What YaRN multiplies queries and keys by; DeepSeek's variant is a ratio of two."""

    def grown(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    one, other = values.get("mscale", float, 0.0), values.get("mscale_all_dim", float, 0.0)
    inferred = grown(one) / grown(other) if one and other else grown(1.0)
    return values.get("attention_factor", float, inferred)
