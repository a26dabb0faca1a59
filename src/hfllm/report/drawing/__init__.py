"""Inline SVG: charts, bars and the path of a run."""
