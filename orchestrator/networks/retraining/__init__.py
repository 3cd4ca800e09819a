"""A network of a search trained in full from scratch, baselines beside it, and the test set, once."""
