"""Writes `report.html`: one self-contained page with the results of a search, or its state while it runs."""
