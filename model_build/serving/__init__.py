"""An OpenAI-compatible server on the engine: its routes, what a request says, and grammars for the answer."""
