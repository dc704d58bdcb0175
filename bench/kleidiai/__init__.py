"""What KleidiAI's kernels are worth: `player` runs one Llama, `count_instructions.c` counts on emulated arm64."""
