"""The planner's simulation against the real handlers (`bench.replay`), whose engine is a clock (`paced`)."""
