"""The world: documents, tables, questions and summaries whose every fact is known.

In: a seed and sizes. Out: plain JSON-ready rows (`generate`), planted factual errors
(`errors`) and verdicts on any summary (`oracle`). Nothing here needs torch.

The world is an examination, so it is versioned: change what it writes only together with
`VERSION`, or scores before and after cannot be compared.
"""

VERSION = 1
