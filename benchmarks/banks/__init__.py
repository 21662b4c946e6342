"""Two banks: what one feels while the other is dead, and how what waited is made good."""
