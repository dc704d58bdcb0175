"""What a scenario comes to, which choices are worth having, and the published steps and estimates beside it."""
