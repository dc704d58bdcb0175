"""A checkpoint in, a model folder out: quantize, pack, verify; the demo model, from its corpus on."""
