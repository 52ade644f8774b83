"""What encoder-only families share: a head for each task."""

from diptych.model import architecture as arch
from diptych.model.config import Config


def head(
    config: Config, task: str, text_activation: arch.Activation, vocabulary: arch.Head
) -> arch.Head | arch.TokenHead | arch.TextHead | None:
    """text_activation: of the layer before the classes of a text. vocabulary: the head that fills in words."""
    match task:
        case "answer":
            return arch.TokenHead(2)
        case "classify":
            return arch.TextHead(len(config.labels()), text_activation)
        case "tag":
            return arch.TokenHead(len(config.labels()))
        case "fill":
            return vocabulary
        case _:
            return None
