"""Two clients of Overture: a static page (`web/`) and a terminal. They share the protocol and nothing else."""
