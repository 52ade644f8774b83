"""Pegasus (Zhang et al. 2019): norms before each branch and after each stack, computed positions."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout("summarise", pre_norm=True, embedding_norm=False, positions="halves")

tasks = LAYOUT.tasks
architecture = LAYOUT.architecture
rules = LAYOUT.rules
