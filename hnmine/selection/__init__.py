"""From a Ranking to a Selection: settings, presets, filters, the false-negative model, random fill.

This is the fast half: pure and vectorised, no file, no model, no clock. A new filter is added here.
"""
