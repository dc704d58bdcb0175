"""The storyteller's function, its image and where that is built, and its weights."""
