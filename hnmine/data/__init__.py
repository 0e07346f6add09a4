"""Input: readers of every file format, problems and repairs, rows, the corpus, and verdicts as data.

Each input format is one module. Everything is plain text and arrays; no model is needed.
"""
