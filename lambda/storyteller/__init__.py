"""The container function that holds the Llama."""
