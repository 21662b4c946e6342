"""Careless changes to the code that moves money, one at a time: a test notices each, or the page says why none can."""
