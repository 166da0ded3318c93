"""The data layers: one file per family, one class per type.  Files here are found automatically."""
