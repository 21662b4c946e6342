"""The lanes of a transfer through the API, each beside what bounds it: what they sustain, and what they cost."""
