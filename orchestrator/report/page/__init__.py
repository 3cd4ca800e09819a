"""`report.html`: one self-contained page that says what a search came to, or how it stands."""
