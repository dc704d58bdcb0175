"""The scripted prologue: `reader` reads the file, `conditions` says when a beat may come, `player` tells it."""
