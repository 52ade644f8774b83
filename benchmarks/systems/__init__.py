"""One file for each engine: how it takes a checkpoint, loads it and is asked for tokens."""
