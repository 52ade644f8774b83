"""Bundles in fewer bits: weights of 8 or 4, or all in 16, within a bound on what that may cost."""
