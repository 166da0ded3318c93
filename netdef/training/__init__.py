"""Training: `netdef.train(path)` trains a net with its solver."""
