"""Mixed payments through the REST API, a dictionary that says what must come of them, and what kills in between."""
