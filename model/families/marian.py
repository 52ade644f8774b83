"""Marian (Junczys-Dowmunt et al. 2018), as OPUS-MT's come: the original Transformer with a bias on the logits."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout("translate", pre_norm=False, embedding_norm=False, positions="halves")

tasks = LAYOUT.tasks
architecture = LAYOUT.architecture
rules = LAYOUT.rules
