"""Clients of Overture: a static page (`web/`) and a terminal. They know the wire and nothing else of the house."""
