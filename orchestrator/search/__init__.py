"""A search: its story, its setup, and what sits between the study and Ray Tune while it runs."""
