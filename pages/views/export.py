"""Screen 6, Export: what the file will hold, what a trainer would trip over, the download, and the same from a terminal."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.errors import HnmineError
from hnmine.flags import command_line
from hnmine.summary import summarise
from pages.parts import state

st.title("Export", anchor=False)
run, selection = state.opened()
dataset = resources.workspace().dataset(run.run.dataset_id)

with st.container(border=True):
    st.write("**FlagEmbedding JSONL**: your rows in their order, every field kept, `neg` replaced, hardest negative first.")
    with_scores = st.toggle(
        "With scores",
        value=run.run.settings.with_scores,
        key="export-scores",
        persist_state="session",
        help="Writes `pos_scores` and `neg_scores` (similarities of the mining model) on every row. Only distillation needs them.",
    )

settings = msgspec.structs.replace(run.run.settings, selection=selection.settings, with_scores=with_scores)
summary = summarise(run.inputs, run.ranking, selection, with_scores=with_scores)
mined = run.run.manifest.get("summary", {})
summary.timings = mined.get("timings", {})
summary.notes = list(dict.fromkeys([*summary.notes, *(note for note in mined.get("notes", ()) if "neg_scores" not in note)]))

# What a trainer would trip over

rows = run.inputs.rows
number = selection.settings.negative_number
prompts = sum("prompt" in row.fields for row in rows)
findings: list[tuple[bool, str]] = [
    (summary.short_rows == 0, f"every row has {number:,} negatives")
    if summary.short_rows == 0
    else (False, f"{summary.short_rows:,} of {summary.rows:,} rows have fewer than {number:,} negatives: trainers repeat those they have"),
    (True, "no positive, no query and no repeat among the negatives"),
]
if 0 < prompts < len(rows):
    findings.append((False, f"{len(rows) - prompts:,} rows have no `prompt` and the others do: the trainer would read None there"))
if summary.backfilled:
    findings.append(
        (False, f"{summary.backfilled:,} negatives are back-filled at random: usually easier than mined ones; a wider window helps")
    )
if summary.scores["above_positive"]:
    findings.append(
        (
            False,
            f"{summary.scores['above_positive']:.1%} of the negatives score above their positive: "
            "they may be false; a PercPos guard on the Mine screen removes them",
        )
    )
findings += [(False, note) for note in summary.notes]
with st.container(border=True):
    st.caption("Checked")
    for good, text in findings:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(
                "fine" if good else "note",
                icon=":material/check:" if good else ":material/priority_high:",
                color="green" if good else "orange",
            )
            st.text(text)

# The files

stem = Path(dataset.name).stem
try:
    with st.spinner("Writing the file ..."):
        path, size = resources.export(run.run.id, selection.settings, with_scores)
except HnmineError as error:
    st.error("The file cannot be written", icon=":material/error:")
    st.text(str(error))
    st.stop()
unit, value = next((unit, size / scale) for unit, scale in (("MB", 1e6), ("kB", 1e3), ("bytes", 1)) if size >= scale or scale == 1)
with st.container(horizontal=True, vertical_alignment="center"):
    st.download_button(
        f"Download {summary.rows:,} rows, {value:,.0f} {unit}",
        data=lambda: resources.export(run.run.id, selection.settings, with_scores)[0].read_bytes(),
        file_name=f"{stem}_hn.jsonl",
        mime="application/jsonl",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
        key="download",
    )
    names = {"input_file": dataset.name, "candidate_pool": dataset.pool_name}
    inputs = {key: {**file, "name": names.get(key) or file["name"]} for key, file in run.run.manifest.get("inputs", {}).items()}
    with path.open("rb") as written:
        output = {"name": f"{stem}_hn.jsonl", "bytes": size, "sha256": hashlib.file_digest(written, "sha256").hexdigest()}
    manifest = run.run.manifest | {
        "settings": msgspec.to_builtins(settings),
        "inputs": inputs,
        "output": output,
        "summary": msgspec.to_builtins(summary),
    }
    st.download_button(
        "Manifest",
        data=msgspec.json.format(msgspec.json.encode(manifest)),
        file_name=f"{stem}_hn.manifest.json",
        mime="application/json",
        icon=":material/description:",
        help="Settings, seed, versions, and the fingerprints of inputs and weights: what is needed to make the file again.",
        on_click="ignore",
        key="download-manifest",
    )

st.subheader("The same from a terminal", anchor=False)
st.caption("Writes the same bytes.")
pool = resources.workspace().pool_path(dataset.id)
command = command_line(
    settings,
    input_file=str(resources.workspace().training_path(dataset.id)),
    candidate_pool=None if pool is None else str(pool),
    output_file=f"{stem}_hn.jsonl",
)
st.code(shlex.join(command), language="bash", wrap_lines=True)
