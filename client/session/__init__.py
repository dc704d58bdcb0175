"""A session from a client's side: the protocol's types, the connection, the queue of actions, the state."""
