"""The data layers: a file per family, a class per type.  Files find themselves; there is no list to edit."""
