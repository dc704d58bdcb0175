"""What Front and the storyteller share: protocol, sessions, leases, slots, the table, connections, settings."""
