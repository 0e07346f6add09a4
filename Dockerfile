# The app as a server; docs/serving.md says how to run it.
#   docker build -t hnmine .
#   docker build -t hnmine:cuda --build-arg TORCH_INDEX= .
FROM python:3.11-slim-bookworm

# PyTorch's own index has wheels for the CPU alone. Those of pip's index, for an empty argument, bring CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY requirements.txt constraints.txt ./
# The linter does not see the version, which is in the file.
# hadolint ignore=DL3013
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' requirements.txt)" \
    && pip install -r requirements.txt -c constraints.txt Authlib==1.9.10

COPY . ./
RUN useradd --uid 1000 --no-create-home hnmine \
    && install --directory --owner=hnmine /workspace /models /scratch

# Data and verdicts; models of the hub; the texts of large pools while they are read.
ENV HNMINE_HOME=/workspace \
    HF_HOME=/models \
    TMPDIR=/scratch \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_BROWSER_SERVER_ADDRESS=localhost
VOLUME ["/workspace", "/models", "/scratch"]
USER 1000
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; base = os.environ.get('STREAMLIT_SERVER_BASE_URL_PATH', '').strip('/'); r.urlopen('http://127.0.0.1:8501/' + base + '/_stcore/health' if base else 'http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "pages.shared.serve"]
