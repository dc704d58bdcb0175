"""The AWS stack, with the CDK.

`app` synthesizes `stack`, which is put together from `constructs/` by the `settings`; `functions` is the table of
what each Lambda function gets. `deploy/` is the command behind `make deploy` and `make destroy`.
Imports none of the project's other packages: it knows the protocol's routes, the functions' environment
variables and the folders it ships.
"""
