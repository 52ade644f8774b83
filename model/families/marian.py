"""Marian (Junczys-Dowmunt et al. 2018), as OPUS-MT's come: the original Transformer with a bias on the logits."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout(pre_norm=False, embedding_norm=False, sinusoidal=True)

architecture = LAYOUT.architecture
rules = LAYOUT.rules
