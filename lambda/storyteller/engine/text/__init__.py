"""Text and tokens: the tokenizer and its chat template, a reply as its tokens come, the form that it is held to."""
