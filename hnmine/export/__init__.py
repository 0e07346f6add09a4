"""Writers of the output formats, one module for each family, with splits and teacher scores.

A new output format is one module here.
"""
