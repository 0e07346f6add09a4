"""Shapes of training data: each module recognises one by the content of the first records and gives rows with `query`, `pos` and `neg`.

The format (JSON lines, CSV, Parquet, ...) does not matter here. Columns that the user names are read as they are.
"""
