"""Inspection of a net: summary table, diagram, explanations of its parts, and cost."""
