"""A trained network as one file for use without cellscout: its formats, its quantisation, its pruning."""
