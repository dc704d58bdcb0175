"""Written answers, found by meaning: an index is built from a world's `answers.yaml`, then asked.

Asking:   `index` opens a built index; `embedder` makes a line's vector; `matcher` decides, with the
          `guards` (word tables in `lexicon`); `answer` has the types.
Building: `answers_file` reads the sources; `classifiers` learns; `builder` measures and writes;
          `embedder_build` makes the embedder's files; `measure` rates an index on labelled lines.
"""
