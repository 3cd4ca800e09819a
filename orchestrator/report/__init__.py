"""What a run came to, shown: in the terminal, on a page, as pictures, beside other runs."""
