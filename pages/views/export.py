"""Screen 7, Export: format and split, checks of the rows, the download, and the equivalent command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.cli.flags import command_line
from hnmine.core.errors import HnmineError
from hnmine.core.files import in_words
from hnmine.core.text import counted
from hnmine.export.datasets_folder import zipped_folder
from hnmine.export.examples import dev_path
from hnmine.export.formats import FORMATS, Format, Written
from hnmine.runs import manifest
from hnmine.runs.mine import MineSettings
from hnmine.runs.summary import summarise
from pages.export import checks
from pages.shared import audit as auditing
from pages.shared import reranker, state, wording
from pages.shared.widgets import choice, failed

st.title("Export", anchor=False)
run, selection = state.opened()
dataset = resources.workspace().dataset(run.run.dataset_id)


def chosen_format() -> Format:
    """Draw the format and the encoding; return the chosen format."""
    families: dict[str, list[Format]] = {}
    for each in FORMATS.values():
        families.setdefault(each.family, []).append(each)
    mined = FORMATS[run.run.settings.output_format]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        family = st.selectbox(
            "Format",
            list(families),
            index=list(families).index(mined.family),
            format_func=lambda name: families[name][0].label,
            key="export-format",
            persist_state="session",
            help="The format that your trainer reads. All formats contain the same negatives.",
            width=360,
        )
        encodings = {each.encoding: each for each in families[family]}
        if len(encodings) == 1:
            return families[family][0]
        first = mined.encoding if mined.encoding in encodings else next(iter(encodings))
        about = "`datasets.load_dataset` reads both. Parquet is smaller and loads faster."
        return encodings[choice("File type", {name: name for name in encodings}, "export-encoding", first, about)]


with st.container(border=True):
    form = chosen_format()
    st.write(form.description)
    for note in form.notes:
        st.caption(note)
    with_scores = False
    if form.scores:
        with_scores = st.toggle(
            "With scores",
            value=run.run.settings.with_scores,
            key="export-scores",
            persist_state="session",
            help=f"{form.scores[0].upper()}{form.scores[1:]}. Similarities of the mining model, or scores of the run's reranker.",
        )
    score_source = reranker.source(run, with_scores)
    split = st.toggle(
        "Split into train and dev",
        value=run.run.settings.dev_share > 0,
        key="export-split",
        persist_state="session",
        help="Holds out queries for evaluation, sampled with the run's seed. Rows with the same query stay together.",
    )
    dev_share = 0.0
    if split and len(run.inputs.corpus.queries) < 2:
        st.warning("A split needs at least two queries.", icon=":material/info:")
    elif split:
        dev_share = (
            st.slider(
                "Dev queries (%)",
                min_value=1,
                max_value=50,
                value=round(run.run.settings.dev_share * 100) or 5,
                format="%d%%",
                key="export-share",
                persist_state="session",
                help="Percentage of the queries in the dev file. The others are in the train file.",
                width=360,
            )
            / 100
        )
    if applied := wording.verdicts_applied(run.verdict_pairs.counts):
        st.write(f":material/gavel: {applied}")

settings: MineSettings = msgspec.structs.replace(
    run.run.settings,
    selection=selection.settings,
    with_scores=with_scores,
    score_source=score_source,
    output_format=form.name,
    dev_share=dev_share,
    repair_output=(),
)
reranker.complete(run, settings)
summary = summarise(run.inputs, run.ranking, selection, with_scores=with_scores)
mined = run.run.manifest.get("summary") or {}
summary.timings = mined.get("timings", {})
own = dict.fromkeys(summary.notes)
summary.notes = list(own | dict.fromkeys(note for note in mined.get("notes", ()) if "_scores" not in note))


def export() -> list[Written]:
    """Write the files; on an error, draw it and stop the script."""
    try:
        with st.spinner("Writing the file ..."):
            return resources.export(run, settings)
    except HnmineError as error:
        failed("Cannot write the file", error)
        st.stop()


written = export()
summary.notes += [note for each in written for note in each.notes if note not in summary.notes]

# Checks

if repairs := checks.draw(run, settings, form, summary, sum(each.bytes for each in written)):
    settings = msgspec.structs.replace(settings, repair_output=repairs)
    written = export()

# The files

# Trainers take these characters for a pattern of names.
stem = re.sub(r"[*?\[\]:]", "_", Path(dataset.name).stem) + "_hn"
names = {"all": f"{stem}{form.suffix}", "train": f"{stem}{form.suffix}", "dev": dev_path(f"{stem}{form.suffix}").name}


def read(part: str) -> bytes:
    """Return a file's bytes, or those of a folder as a zip, at the time of the download; it is written again if it has been deleted."""
    path = next(each for each in resources.export(run, settings) if each.part == part).path
    return b"".join(zipped_folder(path, stem)) if path.is_dir() else path.read_bytes()


def download(each: Written) -> None:
    """Draw the download button of one file."""
    what = {"all": "Download", "train": "Download train:", "dev": "Download dev:"}[each.part]
    one = "query" if form.records == "queries" else form.records.removesuffix("s")
    st.download_button(
        f"{what} {counted(each.rows, one, form.records)}, {in_words(each.bytes)}",
        data=lambda: read(each.part),
        file_name=f"{stem}.zip" if form.folder else names[each.part],
        mime=form.mime,
        icon=":material/download:",
        type="secondary" if each.part == "dev" else "primary",
        on_click="ignore",
        key="download" if each.part != "dev" else "download-dev",
    )


audit = auditing.summary(run, selection)
with st.container(horizontal=True, vertical_alignment="center"):
    for each in written:
        download(each)
    record = manifest.of_export(
        run.run.manifest,
        settings=settings,
        names={"input_file": dataset.name, "candidate_pool": dataset.pool_name},
        verdicts=run.verdict_pairs.applied,
        summary=summary,
        fn_model=run.fn_model if selection.settings.uses_fn_model else None,
        outputs=[each | {"name": names[each["part"]]} for each in manifest.fingerprints(written)],
        audit=audit,
    )
    st.download_button(
        "Manifest",
        data=manifest.encoded(record),
        file_name=f"{stem}.manifest.json",
        mime="application/json",
        icon=":material/description:",
        help="Everything to reproduce the file: settings, seed, verdicts, versions, audit, and fingerprints of inputs and weights.",
        on_click="ignore",
        key="download-manifest",
    )

st.subheader("Command line", anchor=False)
pool = resources.workspace().pool_path(dataset.id)
command = command_line(
    settings,
    input_file=str(resources.workspace().training_path(dataset.id)),
    candidate_pool=None if pool is None else str(pool),
    output_file=f"{stem}{form.suffix}",
    reviews=resources.verdict_file(run),
)
st.code(shlex.join(command), language="bash", wrap_lines=True)
st.caption(
    "Writes the same bytes. `python -m hnmine mine --from_manifest MANIFEST --output_file FILE` reproduces the file from its manifest and "
    "compares the bytes."
)
