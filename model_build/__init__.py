"""A checkpoint in, a bundle out: sources, fine-tuning, rounding, packing; and a server to try it with."""
