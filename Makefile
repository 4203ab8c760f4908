# Everything here works from a fresh clone: what is missing is installed into a cache folder (DICACHE_CACHE, else
# ~/.cache/comfyui-dicache). COMFYUI_PATH=... uses your own ComfyUI instead.
PYTHON ?= python3
RUN := $(PYTHON) tests/host/run.py
ARGS ?=

.PHONY: help demo picture test test-hosts test-web test-ray browser lint format bench-speed bench-quality bench-settings bench-oracle bench-compile bench-tune bench-risk models soak clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo:  ## sample without DiCache, as published and with the default in a real ComfyUI; report in output/demo
	$(RUN) --script demo/demo.py $(ARGS)

picture:  ## the picture at the head of the README
	$(RUN) --script demo/picture.py

test:  ## all tests against a real ComfyUI; more pytest arguments in ARGS
	$(RUN) --require-host -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-hosts:  ## host and patcher tests against six ComfyUI versions
	$(PYTHON) tests/host/matrix.py $(ARGS)

test-web:  ## only the tests of the front end
	$(RUN) tests/web $(ARGS)

test-ray:  ## only the tests over Ray: two and four actors on the CPU
	$(RUN) tests/host/test_over_ray.py --require-ray $(ARGS)

browser:  ## find a browser for the front end's tests, or bring one
	$(RUN) --script tests/host/chromium.py

lint:  ## ruff, as in CI
	$(RUN) --module ruff check .
	$(RUN) --module ruff format --check .

format:  ## let ruff format and fix
	$(RUN) --module ruff check --fix .
	$(RUN) --module ruff format .

bench-speed:  ## wall time against the share of blocks that ran
	$(RUN) --script bench/speed.py $(ARGS)

bench-quality:  ## quality against speed
	$(RUN) --script bench/quality.py $(ARGS)

models:  ## the table in docs/models.md, from what the tests of every family show
	DICACHE_SHOWN=bench/results/families.json $(RUN) tests/patchers $(ARGS)
	$(RUN) --script bench/models_table.py

bench-settings:  ## the own presets under the settings that people sample with, all trained models
	$(RUN) --script bench/settings.py $(ARGS)

bench-oracle:  ## what the best choice of skipped calls would win where the own presets do not
	$(RUN) --script bench/oracle.py $(ARGS)

bench-compile:  ## torch.compile with and without the cache
	$(RUN) --script bench/compiled.py $(ARGS)

bench-tune:  ## DiCache Tune on every testbed model, judged on other captions
	$(RUN) --script bench/tune.py $(ARGS)

bench-risk:  ## does a run know how close its picture is?
	$(RUN) --script bench/risk.py $(ARGS)

soak:  ## many runs in one server: memory and results stay put
	$(RUN) --script bench/soak.py $(ARGS)

clean:  ## remove what demo, benches and tests wrote here; the cache of environments stays
	$(PYTHON) -c "import shutil; [shutil.rmtree(d, ignore_errors=True) for d in ('output', '.pytest_cache', '.ruff_cache', '.hypothesis')]"
