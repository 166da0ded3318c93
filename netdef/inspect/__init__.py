"""Looking at a net: its table, its picture, what its parts are and what they cost."""
