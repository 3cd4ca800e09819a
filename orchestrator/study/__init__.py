"""The Optuna study of a run: live while it searches, rebuilt from its record, and as a journal file."""
