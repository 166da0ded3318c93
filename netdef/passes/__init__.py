"""The middle of the compiler, one module per stage; `compiler.py` runs them in order."""
