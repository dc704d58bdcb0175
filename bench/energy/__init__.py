"""The energy of a reply (`bench.energy`), the meters that it is read from, and other engines to measure beside ours."""
