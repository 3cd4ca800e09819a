"""Draws cells: their layout, figures for files, and SVG for the page."""
