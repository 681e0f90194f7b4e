"""GenTaP: table question answering pretrained on what documents say about their tables.

In: pages of a table with prose. Out: mined sentences and grammar questions (`mining`, and `grammar`,
`values`, `execute`, `questions`), a string form of tables cut to a window (`linearise`, `truncate`), one
encoder with a long-form and a short-form decoder (`model`), and answers that say whether the table holds
them (`answer`). From the authors' article; the grammar follows TAPAS and ReasTAP.
"""
