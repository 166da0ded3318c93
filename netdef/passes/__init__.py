"""The middle of the compiler, a file per stage: decode, select, connect, shapes, checks.  `compiler.py` strings them together."""
