"""Numbers and charts about a Selection: histograms, query tables, diagnostics, comparison, maps, explanations.

Pure like the selection; the screens and notebooks draw from the same functions.
"""
