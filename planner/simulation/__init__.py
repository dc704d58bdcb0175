"""The visits of a scenario, drawn and played event by event."""
