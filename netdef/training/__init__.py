"""Training: `netdef.train(path)` runs a solver on its nets."""
