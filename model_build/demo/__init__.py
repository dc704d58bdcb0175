"""The demo model: a corpus simulated in the Emerald City, and a small Llama trained on it.

Everything here runs on a builder's machine; nothing of it is shipped but the folder it packs.
"""
