"""The best of a search, evaluated fairly: cross-validation with several seeds, and tests of the differences."""
