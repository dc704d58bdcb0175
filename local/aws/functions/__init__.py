"""Lambda: the service and its HTTP API, the environments of a function, and the processes that run in them."""
