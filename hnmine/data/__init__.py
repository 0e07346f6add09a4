"""Files in, rows and a corpus out: readers of every format, problems, repairs and verdicts as data.

A new input format is one module here. Everything is plain text and arrays; no model is needed.
"""
