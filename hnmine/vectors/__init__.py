"""Vectors on disk, and exact similarities of pairs.

The store makes a second run fast, and lets an interrupted run continue.
"""
