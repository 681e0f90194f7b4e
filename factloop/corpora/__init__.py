"""Corpora: rows of JSONL, readers of published formats, near-duplicates and splits (no torch).

In: files as their authors publish them. Out: rows in the project's own four shapes:
documents with summaries, passages with questions, pages with a table, table questions.
"""
