"""Written answers, found by meaning; what Front needs to ask an index. `index_build` makes one from `answers.yaml`.

`index` opens a built index and is asked; `embedder` makes a line's vector; `normalize` folds and spells it;
`matcher` compares it with the answers, with the `guards` (word tables in `lexicon`); `acceptance` decides
whether the nearest answer is given; `answer` has the types.
"""
