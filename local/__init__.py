"""AWS on one machine, for `make run` and for the tests: Lambda, API Gateway and DynamoDB.

The handlers run here as they do on AWS: each execution environment is a process of its own under
`awslambdaric`, frozen between events; visitors come in through a WebSocket with API Gateway's
routes, limits and error bodies; the table is in memory. Nothing here imports the handlers or the rest
of the project: it runs them, and knows of them only what `local/play.py` says.

Public API:

- `local.stack.LocalStack(plan, ...)`: an async context manager that runs everything.
- `local.stack.running(plan, ...)`: the same in a thread of its own, for tests that are not async.
- `local.plan`: `Plan`, `Function`, `GatewayLimits`, `LambdaLimits`, what a stack is made of.
- `local.play.overture(...)`: the plan of the real play; `Plan.change` alters one function of it.
- `python -m local`: the play at http://localhost:8080.
"""
