"""What `diptych bench` measures: load time, speed and memory of a bundle, and what the machine could do at most."""
