"""One AWS concern a file. Only these modules, `app` and `stack` import the CDK."""
