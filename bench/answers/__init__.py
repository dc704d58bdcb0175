"""The written answers: how good (`bench.answers`), what a large index costs to build (`bench.answers.build`),
and what each guard is worth (`bench.answers.guards`).

`rules` are other projects' ways to pick an answer, `intents` public question sets, `speed` and `arm64` the time.
"""
