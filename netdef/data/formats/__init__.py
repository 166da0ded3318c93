"""Data sets that only the tools read: one file per format.  Files here are found automatically."""
