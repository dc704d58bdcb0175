"""The small function that is always quick: routes, the prologue, the answer book, the door."""
