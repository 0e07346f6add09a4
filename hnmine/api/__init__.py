"""The library as people hold it: `read` gives a Dataset, `rank` a Ranking, `select` a Selection.

Each object owns what it was made from: a Ranking its data and signals, a Selection its ranking with the verdicts applied.
"""
