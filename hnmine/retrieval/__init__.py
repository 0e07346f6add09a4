"""From texts to a Ranking: exact top-k search, BM25, fusion, and the signals of each candidate.

This is the slow half. A new retriever or signal is added here.
"""
