"""Which module is at fault, if a graph is."""
