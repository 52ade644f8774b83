"""Fixtures that many tests share: tiny checkpoints, and the bundles they become."""
