"""PyTorch encoders and decoders, and the checkpoints they are read from. Knows nothing of ONNX."""

from diptych.model.checkpoint import Checkpoint, load_checkpoint
from diptych.model.errors import CheckpointError, CheckpointNotFoundError
from diptych.model.networks import DecoderOnly, EncoderDecoder, EncoderOnly, Network, make_network

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DecoderOnly",
    "EncoderDecoder",
    "EncoderOnly",
    "Network",
    "load_checkpoint",
    "make_network",
]
