"""What tests of webhooks have in common: an app's server that does as it is told, and the way there."""
