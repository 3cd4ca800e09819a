"""Cells drawn: their layout, a figure for a file, and SVG for the page."""
