"""What an encoder or a reranker is: model cards, loading, devices and batches.

A new kind of model is one module here. torch and FlagEmbedding load inside functions.
"""
