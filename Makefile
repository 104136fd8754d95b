# One environment for everything: `make demo`, `make test`, `make lint`.
# PYTHON picks the interpreter (3.11 or 3.12); its lock file decides versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
LOCK := requirements/python$(VERSION).txt
READY := $(VENV)/.ready-$(VERSION)
RUN := $(VENV)/bin/python

.PHONY: setup demo test coverage parity bench lint format lock clean

setup: $(READY)

$(READY): setup.py $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' \
	  || { echo 'avemo needs Python 3.11 or 3.12: make PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $(LOCK)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY)
	$(RUN) -m avemo demo --out runs/demo

# Large pages, as `avemo` itself asks for: a tenth less of the processor.
test: $(READY)
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(RUN) -m pytest -n 2 --dist loadfile

coverage: $(READY)
	$(RUN) -m pytest -n 2 --dist loadfile --cov --cov-report term:skip-covered

# Converted weights against the codes that save them; REFERENCES names a folder
# of checkouts, see `python -m benchmarks.parity --help`.
PARITY := .venv-parity
parity: $(PARITY)/.ready
	$(PARITY)/bin/python -m benchmarks.parity --large \
	  $(if $(REFERENCES),--references $(REFERENCES))

$(PARITY)/.ready: $(LOCK) requirements/parity.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/pip install --quiet -r $(LOCK) -r requirements/parity.txt
	$(PARITY)/bin/pip install --quiet --no-deps timm==1.0.31
	$(PARITY)/bin/pip install --quiet --no-deps \
	  --target $(PARITY)/torchvision torchvision==0.28.0
	$(PARITY)/bin/pip install --quiet --no-deps --editable .
	@touch $@

# The quick set of all benchmarks, a quarter of an hour; PEER_PYTHON names a
# Python with torch and transformers, such as $(PARITY)/bin/python.
bench: $(READY)
	$(RUN) -m benchmarks.videomae --sizes S --repeats 3 \
	  $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) --eager \
	  --out runs/bench/videomae.json
	$(RUN) -m benchmarks.spectrogram_vit --sizes S --repeats 3 \
	  $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) --eager \
	  --out runs/bench/spectrogram_vit.json
	$(RUN) -m benchmarks.compile_time --repeats 1 --cases 2 \
	  --out runs/bench/compile_time.json
	$(RUN) -m benchmarks.prepare --speakers 2 --clips-per-speaker 6 \
	  --repeats 1 --workers 1 --out runs/bench/prepare.json
	$(RUN) -m benchmarks.pipeline --repeats 2 --run 4 --batches 40 \
	  $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) \
	  --out runs/bench/pipeline.json
	$(RUN) -m benchmarks.front_ends --repeats 3 \
	  $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) \
	  --out runs/bench/front_ends.json
	$(RUN) -m benchmarks.predict --seconds 12 --out runs/bench/predict.json
	$(RUN) -m benchmarks.checkpoints --size S --repeats 2 \
	  $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) \
	  --out runs/bench/checkpoints.json

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Resolves the newest versions that setup.py allows; needs uv.
lock:
	for version in 3.11 3.12; do \
	  uv pip compile setup.py --extra dev --extra convert --upgrade \
	    --python-version $$version --no-header --no-annotate \
	    --no-emit-index-url --output-file requirements/python$$version.txt; \
	done

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache
