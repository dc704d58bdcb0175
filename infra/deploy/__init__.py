"""The command behind `make deploy`: checks, Front's package, the image, prices, and the tables in `docs/`."""
