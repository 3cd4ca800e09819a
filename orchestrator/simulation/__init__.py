"""Searches that are simulated on the curves of one that was recorded."""
