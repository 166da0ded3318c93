"""Expansion: imports, constants, templates, loops, conditions and expressions become plain fields."""
