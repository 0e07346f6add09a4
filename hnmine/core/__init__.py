"""What every other package stands on: errors, progress, files, hashing, text and arrays.

It knows nothing of training data or of models, and imports no other package of hnmine.
"""
