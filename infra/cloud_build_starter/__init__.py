"""Code of what starts the image's build in the cloud, and answers for it."""
