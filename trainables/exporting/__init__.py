"""Exports trained networks as files for use without cellscout: formats, quantisation and pruning."""
