"""The plan and the running stack: settings for a deployment, and what it used and counted."""
