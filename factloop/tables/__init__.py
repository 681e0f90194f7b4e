"""GenTaP: table question answering pretrained on what documents say about their tables.

In: pages of a table with prose. Out: mined sentences and grammar questions (`mining`,
`grammar`), a string form of tables (`linearise`), and one encoder with a long-form and a
short-form decoder (`model`). From the authors' article; the grammar follows TAPAS.
"""
