#!/opt/venv/bin/python
"""The `sagapay` command inside the image, where the packages are on the path and nothing is installed."""

from cli import main

main()
