"""The commands: arguments in, text out. No logic."""
