"""Every figure the README quotes, one command each."""
