"""Code of the function that turns the storyteller off."""
