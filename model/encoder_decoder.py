"""The two panels joined: an encoder, a decoder, and the weights they share."""

from torch import nn

from diptych.model import architecture as arch
from diptych.model.decoder import Decoder
from diptych.model.encoder import Encoder


class EncoderDecoder(nn.Module):
    """Sequence to sequence ("Attention Is All You Need", figure 1), built from its architecture, untrained."""

    def __init__(self, spec: arch.EncoderDecoder) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec.encoder)
        self.decoder = Decoder(spec.decoder, spec.head)
        if spec.shared_embedding:
            self.encoder.embedding.tokens.weight = self.decoder.embedding.tokens.weight
