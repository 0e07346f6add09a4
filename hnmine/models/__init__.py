"""Encoders and rerankers: model cards, loading, devices and batches.

Each kind of model is one module. torch and FlagEmbedding are imported inside functions.
"""
