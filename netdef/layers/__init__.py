"""The layer types: one file per family, one class per type.  Files are discovered; there is no list to edit."""
