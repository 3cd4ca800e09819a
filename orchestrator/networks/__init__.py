"""What follows a search: its networks found by name, trained in full, exported, explained, used."""
