"""What every benchmark here shares: models, processes, the clock, the machine and the tables."""
