"""The stack: everything that `cdk deploy` makes, one construct a concern.

Imports none of the project's other packages: it knows the wire's routes, the functions' environment
variables and the folders it ships.
"""
