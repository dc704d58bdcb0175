"""The energy of a reply (`bench.energy`), and the meters that it is read from."""
