"""The engine on one machine: speed beside other engines (`bench.engine`), and a command for each further question.

`load` is a cold start (`object_server` stands in for S3), `story` a line of the play, `grammar` a form's cost, `malloc`
the allocator's settings. `players` are the engines that take turns, `random_llama` the weights they all play with.
"""
