"""Encoding and search by several processes and machines, with the bytes of one.

`work` is what a worker does with one shard, and knows no cluster. `ray_workers` runs it on Ray, an optional package.
`cluster` splits the work, and `shared_store` is the place where workers put finished shards.
"""
