"""What the platform does in a second, beside a peer that does almost nothing; README.md says how it is measured."""
