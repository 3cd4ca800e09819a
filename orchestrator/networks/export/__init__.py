"""A trained network as a file for use elsewhere: written, checked against PyTorch, measured, on record."""
