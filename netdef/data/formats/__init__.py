"""Data sets that the tools read and no data layer does: a file per format.  Files find themselves."""
