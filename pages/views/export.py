"""Screen 7, Export: the format on the left; on the right what is written, of what it is made, the checks, and the download."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
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
from hnmine.export.formats import Written
from hnmine.export.preview import first_records
from hnmine.runs import manifest
from hnmine.runs.mine import MineSettings
from hnmine.runs.opened import judgement_file, verdict_file
from hnmine.runs.selection_files import Exported, record_export
from hnmine.runs.summary import summarise
from pages.export import checks, formats, made_of, relabel, snippets
from pages.shared import audit as auditing
from pages.shared import judging, reranker, state
from pages.shared.widgets import failed

PREVIEWED = 3

run, selection = state.opened()
dataset = resources.workspace().dataset(run.run.dataset_id)
variant_name = state.selection_name(run.run.id)
left, right = st.columns([2, 7], gap="medium")
with left:
    family = formats.choose(run)
with right:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="content"):
            chosen = formats.options(run, family)
        downloads = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content")
    right_top = st.container()
    middle, side = st.columns([5, 4], gap="medium")
form = chosen.form
try:
    relevant_from = judging.relevant_from()
    graded = resources.relabelled(run, "keep", relevant_from)
    with right_top:
        relabelling = relabel.choose(graded, selection)
    shown = resources.relabelled(run, relabelling, relevant_from)
    relabelled = resources.selection(shown, selection.settings)
except HnmineError as error:
    failed("Cannot relabel by the judge", error)
    st.stop()
settings: MineSettings = msgspec.structs.replace(
    run.run.settings,
    selection=selection.settings,
    with_scores=chosen.with_scores,
    score_source=chosen.score_source,
    output_format=form.name,
    dev_share=chosen.dev_share,
    repair_output=(),
    relabel=relabelling,
    relevant_from=relevant_from,
)
with right:
    reranker.complete(shown, settings)
left_out = shown.left_out(relabelled)
summary = summarise(shown.inputs, shown.ranking, relabelled, with_scores=chosen.with_scores, left_out=left_out)
summary.judgements = shown.judge_counts(relabelled)
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


with middle:
    written = export()
summary.notes += [note for each in written for note in each.notes if note not in summary.notes]

# What it is made of, and the checks

with side, st.container(border=True):
    made_of.draw(run, selection, summary)
with side, st.container(border=True):
    st.markdown("**Checks**")
    if repairs := checks.draw(run, settings, form, summary, sum(each.bytes for each in written)):
        settings = msgspec.structs.replace(settings, repair_output=repairs)
        written = export()
    if made_of.audited_elsewhere(run, selection):
        checks.mark("warning", "Settings changed since the audit → measure this selection on Quality, or open the audited variant")
    audit = auditing.summary(run, selection)

# The files

# Trainers take these characters for a pattern of names.
stem = re.sub(r"[*?\[\]:]", "_", Path(dataset.name).stem) + "_hn" + ("" if form.family == "flagembedding" else f"_{form.family}")
names = {"all": f"{stem}{form.suffix}", "train": f"{stem}{form.suffix}", "dev": dev_path(f"{stem}{form.suffix}").name}


def read(part: str) -> bytes:
    """Return a file's bytes, or those of a folder as a zip, at the time of the download; it is written again if it has been deleted."""
    found = next(each for each in resources.export(run, settings) if each.part == part)
    if part != "dev":
        exported = Exported(
            selection=selection.settings,
            variant=variant_name,
            file_name=names[part],
            output_format=form.name,
            rows=found.rows,
            bytes=found.bytes,
            sha256=found.sha256,
            verdicts=len(run.verdict_pairs.applied),
        )
        with suppress(HnmineError):  # a full disk: the file is worth more than the note that it was downloaded
            record_export(resources.workspace(), run.run.id, exported)
    return b"".join(zipped_folder(found.path, stem)) if found.path.is_dir() else found.path.read_bytes()


def download(each: Written) -> None:
    """Draw the download button of one file."""
    one = "query" if form.records == "queries" else form.records.removesuffix("s")
    file_name = f"{stem}.zip" if form.folder else names[each.part]
    st.download_button(
        f"Download {file_name.translate(_LITERAL)} · {in_words(each.bytes)}",
        data=lambda: read(each.part),
        file_name=file_name,
        mime=form.mime,
        icon=":material/download:",
        type="secondary" if each.part == "dev" else "primary",
        on_click="ignore",
        help=f"{counted(each.rows, one, form.records)}.",
        key="download" if each.part != "dev" else "download-dev",
    )


# A file name is no Markdown.
_LITERAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]()<>#+-.!|~$:"})
with downloads:
    record = manifest.of_export(
        run.run.manifest,
        settings=settings,
        names={"input_file": dataset.name, "candidate_pool": dataset.pool_name},
        verdicts=run.verdict_pairs.applied,
        judgements=run.judged.judgements,
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
        type="tertiary",
        help="Everything to reproduce the file: settings, seed, verdicts, versions, audit, and fingerprints of inputs and weights.",
        on_click="ignore",
        key="download-manifest",
    )
    for each in reversed(written):
        download(each)
with middle, st.container(border=True):
    st.markdown(f"**The first {PREVIEWED} {form.records} as they will be written**")
    st.text(" ".join([form.description.replace("`", ""), *form.notes]))
    try:
        with st.container(height=480, border=False):
            st.code(first_records(written[0].path, PREVIEWED), language=None, wrap_lines=True)
    except OSError as error:
        failed("Cannot show the file", error)

# The same in other ways

pool = resources.workspace().pool_path(dataset.id)
output_file = f"{stem}{form.suffix}"
try:
    reviews = verdict_file(resources.workspace(), run)
    judgements = judgement_file(resources.workspace(), run, relevant_from)
except HnmineError as error:
    failed("The verdicts and grades for the command line cannot be written", error)
    st.stop()
training = str(resources.workspace().training_path(dataset.id))
terminal, library, trainer = st.tabs(["Command line", "Python", "Load it in a trainer"])
with terminal:
    command = command_line(
        settings,
        input_file=training,
        candidate_pool=None if pool is None else str(pool),
        output_file=output_file,
        reviews=reviews,
        judgements=judgements,
    )
    st.code(shlex.join(command), language="bash", wrap_lines=True)
    st.text(
        "Writes the same bytes. To reproduce the file from its manifest: python -m hnmine mine --from_manifest MANIFEST --output_file FILE"
    )
with library:
    st.code(
        snippets.python(
            settings,
            input_file=training,
            pool=None if pool is None else str(pool),
            output_file=output_file,
            verdicts=None if reviews is None else str(reviews),
            judgements=None if judgements is None else str(judgements),
        ),
        language="python",
        wrap_lines=True,
    )
    st.text("Writes the same bytes.")
with trainer:
    st.code(snippets.loader(form, output_file), language=None, wrap_lines=True)
    st.text("Replace MODEL and OUTPUT with your own.")
