"""A checkpoint in, a bundle out: `sources/`, fine-tuning, `packing/`; and a server to try it with (`serving/`)."""
