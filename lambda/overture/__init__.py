"""What Front and the storyteller share: wire messages, sessions, connections, settings."""
