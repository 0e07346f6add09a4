# Everything runs from a checkout, in .venv, and may be run again: what is up to date is left alone.
#   make app PORT=9000          another port
#   make setup PYTHON=python3.12  another Python

PORT ?= 8501
PYTHON ?=
# At most this many pytest processes: each that loads the model holds about 1 GB.
WORKERS ?= 4

# Without training_gain and second_opinion, which take longer than all of them and need judged sets, without cluster, which starts Ray twenty
# times, and without screens and review_desk, which need Chromium and the name of a workspace: make bench ONLY=training_gain
BENCHMARKS := encode search select signals inspect verdicts rows mine time_left resume scale windows fit_fn_model quality audit audit_judge cluster_simulation gpu_check

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup app demo demo-served test bench campaign audit screenshots clean

help: ## Show this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

setup: $(INSTALLED) ## Create .venv and install what the app and the command line need

app: setup ## Start the app on http://127.0.0.1:8501 (another port: make app PORT=9000)
	$(PY) -m pages.shared.serve --server.port $(PORT)

demo: setup ## Mine the bundled example without a browser, into build/demo.jsonl
	@mkdir -p build
	$(PY) -m hnmine mine --input_file examples/bikeshare/train.jsonl --candidate_pool examples/bikeshare/pool.jsonl \
		--output_file build/demo.jsonl

demo-served: setup ## Mine the bundled example through a server of models on this machine, into build/demo-served.jsonl
	@mkdir -p build && rm -f build/served.address
	@$(PY) examples/served_models.py --port 0 > build/served.address & server=$$!; trap 'kill $$server' EXIT; \
	until [ -s build/served.address ]; do kill -0 $$server || exit 1; sleep 0.2; done; \
	$(PY) -m hnmine mine --input_file examples/bikeshare/train.jsonl --candidate_pool examples/bikeshare/pool.jsonl \
		--embedder_server "$$(cat build/served.address)" --embedder_name_or_path all-MiniLM-L6-v2 --output_file build/demo-served.jsonl

test: $(INSTALLED_DEV) ## Check style and types, and run all tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n auto --maxprocesses $(WORKERS) --dist worksteal --durations=10

bench: $(INSTALLED_DEV) ## Run every benchmark, or one: make bench ONLY=search; figures go to build/bench (half an hour in all)
	@for each in $(or $(ONLY),$(BENCHMARKS)); do echo "== $$each"; $(PY) -m benchmarks.$$each || exit 1; done

campaign: $(INSTALLED_DEV) ## Try to break everything: bad inputs, kills, damage, full disks, load (two hours; one part: make campaign ONLY=readers)
	$(PY) -m tests.campaign $(ONLY)

audit: ## Look up known vulnerabilities of every pinned package (needs the package index)
	@python3 -m venv build/audit && build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	build/audit/bin/pip-audit --no-deps --disable-pip -r requirements.txt -r constraints.txt

screenshots: $(INSTALLED_DEV) ## Take the pictures of docs/ from the real app; all screens: make screenshots ALL=FOLDER
	$(PY) docs/screenshots.py $(if $(ALL),--all --out "$(ALL)")

clean: ## Remove caches and build outputs; .venv and the workspace stay
	rm -rf build dist hnmine.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +

# The stamps are written last, so an interrupted installation is taken up again.
$(INSTALLED): requirements.txt constraints.txt
	@python=""; \
	for each in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		if "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$each"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "hnmine needs Python 3.11 or newer, and $(or $(PYTHON),python3) is not. Install it, or name it: make setup PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	"$$python" -m venv $(VENV) || { echo "No virtual environment could be made with $$python (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Installing into $(VENV); the first time this takes some minutes ..."
	@$(PIP) -r requirements.txt -c constraints.txt
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	@$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
