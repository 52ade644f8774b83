"""The panels joined: an encoder and a decoder, or one of them alone, the head on top, and the weights they share."""

from torch import nn

from diptych.model import architecture as arch
from diptych.model.decoder import Decoder
from diptych.model.encoder import Encoder
from diptych.model.heads import TextHead, TokenHead, VocabularyHead


class EncoderDecoder(nn.Module):
    """Sequence to sequence ("Attention Is All You Need", figure 1), built from its architecture, untrained."""

    def __init__(self, spec: arch.EncoderDecoder) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec.encoder)
        self.decoder = Decoder(spec.decoder)
        self.head = _vocabulary_head(spec.decoder, spec.head, self.decoder)
        if spec.shared_embedding:
            self.encoder.embedding.tokens.weight = self.decoder.embedding.tokens.weight


class EncoderOnly(nn.Module):
    """An encoder and a head for one task, built from its architecture, untrained (BERT, Devlin et al. 2018)."""

    def __init__(self, spec: arch.EncoderOnly) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec.encoder)
        self.head = self._make_head(spec)

    def _make_head(self, spec: arch.EncoderOnly) -> nn.Module | None:
        match spec.head:
            case None:
                return None
            case arch.TokenHead():
                return TokenHead(spec.encoder.width, spec.head)
            case arch.TextHead():
                return TextHead(spec.encoder.width, spec.head)
            case arch.Head():
                return _vocabulary_head(spec.encoder, spec.head, self.encoder)


class DecoderOnly(nn.Module):
    """A language model, built from its architecture, untrained (GPT, Radford et al. 2018)."""

    def __init__(self, spec: arch.DecoderOnly) -> None:
        super().__init__()
        self.spec = spec
        self.decoder = Decoder(spec.decoder)
        self.head = None if spec.head is None else _vocabulary_head(spec.decoder, spec.head, self.decoder)


Network = EncoderDecoder | EncoderOnly | DecoderOnly


def make_network(spec: arch.Architecture) -> Network:
    """The module that an architecture describes, untrained."""
    match spec:
        case arch.EncoderDecoder():
            return EncoderDecoder(spec)
        case arch.EncoderOnly():
            return EncoderOnly(spec)
        case arch.DecoderOnly():
            return DecoderOnly(spec)


def _vocabulary_head(stack: arch.Stack, spec: arch.Head, panel: Encoder | Decoder) -> VocabularyHead:
    head = VocabularyHead(stack.width, stack.embedding, spec)
    if spec.tied:
        head.weight = panel.embedding.tokens.weight
    return head
