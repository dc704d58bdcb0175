"""A model in, a bundle out: calibration, rounding to INT4, byte layout, and the prefix that is shipped with it."""
