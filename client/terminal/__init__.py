"""The terminal client: `python -m client.terminal [URL]`."""
