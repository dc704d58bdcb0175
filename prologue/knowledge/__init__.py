"""What is true of a world: `facts_file` reads it, `facts_index` finds what bears on a line."""
