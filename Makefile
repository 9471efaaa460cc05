# The environment is made once and reused until pyproject.toml changes; an interrupted installation is
# continued, because the mark is set only when it has ended well.
PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/ready
# How many processes share the tests. Each may start a Triton and a browser: about 3 GB.
WORKERS ?= 2
NPU := build/npu
OLDEST := build/oldest

.DEFAULT_GOAL := help
.PHONY: help env demo bundle test test-slow test-gpu test-npu test-oldest docs lint format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is missing or older than Python 3.11; name a newer one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install $$("$(PYTHON)" -c \
	    'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 2; }
	@echo "Making the environment in .venv (once; torch is large, this takes minutes)"
	@$(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear --upgrade-deps .venv
	@$(PY) -m pip install --disable-pip-version-check -e '.[train,imagenet,triton,openvino,parquet,video,milvus,otel,test]'
	@touch $@

env: $(READY) ## make the environment and nothing else

demo: $(READY) ## the whole road, from synthetic pictures to the search page (HEADLESS=1, TRAIN=1, RECIPE=name, TRAIN_IDS=n, DETECTOR=file, SITE_SECONDS=n)
	@$(PY) deploy/demo.py $(if $(HEADLESS),--headless) $(if $(TRAIN),--train) $(if $(RECIPE),--recipe '$(RECIPE)') \
	  $(if $(TRAIN_IDS),--train-ids $(TRAIN_IDS)) $(if $(DETECTOR),--detector '$(DETECTOR)') \
	  $(if $(SITE_SECONDS),--site-seconds $(SITE_SECONDS))

bundle: $(READY) ## export the zoo's own model to build/bundle
	@$(PY) -m serving.export --weights densenet121.synthetic --out build/bundle

# The workers fill the cores already: more threads in each would wait for each other by spinning.
test: $(READY) lint ## the whole test suite (ARGS="tests/zoo -x" for a part, WORKERS=n)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(READY) ## the long proofs that `make test` leaves out
	@$(PY) -m pytest -m slow $(ARGS)

test-gpu: ## what only an NVIDIA GPU shows, in minutes (PY=python for an environment of your own)
	@$(PY) -m pytest -m gpu tests/gpu $(ARGS)

# An environment of its own: torch_npu wants the CPU build of torch, and of its own release.
$(NPU)/ready: tests/fake_cann/requirements.txt $(wildcard tests/fake_cann/*.cpp) tests/fake_cann/build.py
	@"$(PYTHON)" -m venv --upgrade-deps $(NPU)/env
	@$(NPU)/env/bin/python -m pip install --disable-pip-version-check --quiet -r tests/fake_cann/requirements.txt
	@$(NPU)/env/bin/python -m pip install --disable-pip-version-check --quiet --no-deps torchvision==0.28.0
	@$(NPU)/env/bin/python -m tests.fake_cann.build $(NPU)/lib
	@touch $@

test-npu: $(NPU)/ready ## training on the real torch_npu above a fake driver of Ascend cards
	@FAKE_CANN=$(CURDIR)/$(NPU)/lib TORCH_DEVICE_BACKEND_AUTOLOAD=0 $(NPU)/env/bin/python -m pytest \
	  -m "slow or not slow" tests/training/distributed/test_npu_runs.py tests/fake_cann $(ARGS)

$(OLDEST)/ready: pyproject.toml deploy/ascend/constraints-2.3.1.txt
	@"$(PYTHON)" -m venv --upgrade-deps $(OLDEST)/env
	@$(OLDEST)/env/bin/python -m pip install --disable-pip-version-check --quiet -e '.[train,triton]' pytest pytest-timeout \
	  hypothesis -c deploy/ascend/constraints-2.3.1.txt
	@touch $@

test-oldest: $(OLDEST)/ready ## training, evaluation and export with the oldest torch that they run with (5 GB)
	@$(OLDEST)/env/bin/python -m pytest tests/zoo tests/training/data tests/training/distributed tests/training/evaluation \
	  tests/training/run tests/training/test_*.py tests/serving/conversion tests/serving/test_bundle.py \
	  tests/serving/test_export.py $(ARGS)

docs: $(READY) ## the documentation as a site, in build/docs
	@$(PY) -c 'import material, mkdocstrings_handlers.python' 2>/dev/null || \
	  $(PY) -m pip install --disable-pip-version-check --quiet -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build
	@echo "Read it at http://127.0.0.1:8000 with: $(PY) -m http.server --bind 127.0.0.1 --directory build/docs"

lint: $(READY) ## style and types
	@$(PY) -m ruff check --quiet . && $(PY) -m ruff format --quiet --check . && $(PY) -m mypy --no-error-summary

format: $(READY) ## put the code into the house style
	@$(PY) -m ruff check --quiet --fix . && $(PY) -m ruff format --quiet .

clean: ## remove what can be rebuilt, but neither runs/ nor data/
	@rm -rf build .pytest_cache .ruff_cache .mypy_cache
