"""Shapes of training data: each module recognises one by the content of the first records and gives rows with `query`, `pos` and `neg`.

The container (JSON lines, CSV, Parquet, ...) does not matter here. A column that the user names switches the shapes off.
"""
