"""Shared by all other packages: errors, progress, files, hashing, text and arrays.

It depends on neither training data nor models, and imports no other package of hnmine.
"""
