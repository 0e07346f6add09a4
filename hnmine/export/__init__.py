"""Writers of the output formats, one module per family, with splits and scores.

A new output format is one module here.
"""
