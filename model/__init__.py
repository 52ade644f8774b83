"""PyTorch encoders and decoders, and the checkpoints they are read from. Knows nothing of ONNX."""

from diptych.model.architecture import (
    Activation,
    Attention,
    Bucketed,
    Embedding,
    FeedForward,
    Head,
    Layer,
    LayerNorm,
    Learned,
    Norm,
    Positions,
    RMSNorm,
    Sinusoidal,
    Stack,
)
from diptych.model.checkpoint import Checkpoint, load_checkpoint
from diptych.model.encoder_decoder import EncoderDecoder
from diptych.model.errors import CheckpointError, CheckpointNotFoundError

__all__ = [
    "Activation",
    "Attention",
    "Bucketed",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "Embedding",
    "EncoderDecoder",
    "FeedForward",
    "Head",
    "Layer",
    "LayerNorm",
    "Learned",
    "Norm",
    "Positions",
    "RMSNorm",
    "Sinusoidal",
    "Stack",
    "load_checkpoint",
]
