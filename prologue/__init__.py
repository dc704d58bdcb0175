"""The words: worlds, the script player, the answer book and the prompt. No torch, no AWS."""
