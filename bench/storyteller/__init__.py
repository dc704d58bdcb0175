"""How well a model tells the story: `lines` for a `player` to answer, `scores`, and sheets for `reading`."""
