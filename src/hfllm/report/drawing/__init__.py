"""Inline SVG: line charts, bars, reliability plots, and the flow chart of a run."""
