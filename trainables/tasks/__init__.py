"""Tasks: one module for each kind of data that can be searched on."""
