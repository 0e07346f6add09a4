"""Containers of records: each format is read into records as JSON lines, with every fault of the file found.

What the records mean is the part of `shapes` and of the modules above.
"""
