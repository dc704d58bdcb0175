"""Every figure of docs/benchmarks.md, one command each.

A family of benches is a package whose own command is the family's first: `python -m bench.answers`, `.energy`,
`.engine`, `.kleidiai`, `.replay`, `.storyteller`. The rest are modules. What they measure goes to build/bench.
"""
