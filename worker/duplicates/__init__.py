"""Finding duplicates, after images are `done`: `loop` decides which are due, `search` finds what they look like."""
