"""Encoding and search by several processes and machines, with the bytes of one.

`encoding` and `searching` are the work on one shard, and know no cluster. `ray_workers` runs it on Ray, an optional package.
`cluster` splits the work, and `shared_store` is the place where workers put finished shards.
"""
