"""Select negatives from a Ranking: settings, presets, filters, the false-negative model, random fill.

Pure and vectorised: it reads no files, loads no models, and is fast enough for a slider. A new filter is added in `filters`.
"""
