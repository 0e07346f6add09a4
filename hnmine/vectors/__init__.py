"""Vectors on disk, kept by what decides them, and the exact similarity of pairs of them.

The store makes a second run instant, and an interrupted one go on where it was.
"""
