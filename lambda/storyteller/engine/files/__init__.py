"""What is on disk: bundles and Hugging Face checkpoints, their shape and byte layout, and how they are read fast."""
