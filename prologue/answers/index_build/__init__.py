"""Builds and measures an answer index: on the machine of a world's author, never in Front.

`answers_file` reads the sources (`negatives.txt` has those of any world); `classifiers` learns; `builder`
calibrates and writes; `embedder_build` makes the embedder's files; `report` prints what a build found;
`measure` rates an index on labelled lines.
"""
