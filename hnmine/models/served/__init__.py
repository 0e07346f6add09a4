"""Models behind an address: embedders, rerankers and LLMs that answer over HTTP.

`server` says where one answers, `client` asks it. The others know one kind of question each, and depend on nothing but these two.
"""
