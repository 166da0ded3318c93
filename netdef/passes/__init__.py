"""The middle of the compiler, a file per stage; `compiler.py` strings them together."""
