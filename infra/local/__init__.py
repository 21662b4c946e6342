"""The embedded stack: every server that the settings do not name, from PyPI alone, and the supervisor over it.

Nothing here is imported by a role; in production the same roles find real servers through their settings.
"""
