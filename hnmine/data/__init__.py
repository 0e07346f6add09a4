"""Input: files of every format and shape become rows and a corpus, with every problem found; verdicts as data.

`formats` reads containers into records, `shapes` says what records mean, the modules here make rows and passages of them. Everything is
plain text and arrays; no model is needed.
"""
