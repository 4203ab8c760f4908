# Everything here works from a fresh clone: what is missing is installed into a cache folder (DICACHE_CACHE, else
# ~/.cache/comfyui-dicache). COMFYUI_PATH=... uses your own ComfyUI instead.
PYTHON ?= python3
RUN := $(PYTHON) tests/host/run.py
HOST_TESTS := $(RUN) --require-host -n 3 --dist loadfile --no-loadscope-reorder
ARGS ?=

.PHONY: help demo picture pictures test test-fast test-all test-hosts test-web test-ray browser lint pages format bench-speed bench-quality bench-parts bench-settings bench-hard bench-validity bench-searched bench-noise bench-compile bench-tune bench-plans bench-risk bench-real models soak clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo:  ## sample tiny models with and without DiCache in a real ComfyUI; images and report in output/demo
	$(RUN) --script tools/demo/demo.py $(ARGS)

picture:  ## the image at the head of the README
	$(RUN) --script tools/demo/picture.py $(ARGS)

pictures:  ## the images of README, help pages, registry and template browser; needs a browser
	$(RUN) --script tests/web/make_pictures.py $(ARGS)

test:  ## before a commit, in minutes: a real ComfyUI, its server, a browser, Ray; more pytest arguments in ARGS
	$(HOST_TESTS) --tier test $(ARGS)

test-fast:  ## while you write, in seconds: core, schema and one family; brings torch, but no ComfyUI
	$(RUN) --at-hand --tier fast -n 2 --dist loadfile $(ARGS)

test-all:  ## everything: every family, sampler, policy and fault
	$(HOST_TESTS) $(ARGS)

test-hosts:  ## host and patcher tests against six ComfyUI versions
	$(PYTHON) tests/host/matrix.py $(ARGS)

test-web:  ## only the tests of the front end
	$(RUN) tests/web $(ARGS)

test-ray:  ## only the tests over Ray: two and four actors on the CPU
	$(RUN) tests/host/test_over_ray.py --require-ray $(ARGS)

browser:  ## find a browser for the front end's tests, or bring one
	$(RUN) --script tests/host/chromium.py $(ARGS)

lint:  ## ruff, and what tests see in files alone: imports, links, what the pack must not call
	$(RUN) --at-hand --module ruff check .
	$(RUN) --at-hand --module ruff format --check .
	$(RUN) --at-hand --tier lint -q $(ARGS)

pages:  ## menus, tables of pages and English texts, from the registries of policies and presets
	$(RUN) --at-hand --script tools/pages.py
	$(RUN) --script tests/web/make_locales.py

format:  ## let ruff format and fix
	$(RUN) --at-hand --module ruff check --fix .
	$(RUN) --at-hand --module ruff format .

bench-speed:  ## wall time against the share of blocks that ran
	$(RUN) --script tools/bench/speed.py $(ARGS)

bench-quality:  ## quality against speed
	$(RUN) --script tools/bench/quality.py $(ARGS)

models:  ## the table in docs/models.md, from what the tests of every family show
	DICACHE_SHOWN=tools/bench/results/families.json $(RUN) tests/patchers $(ARGS)
	$(RUN) --script tools/bench/models_table.py

bench-parts:  ## policies that decide on parts of the stack, at the same share of it
	$(RUN) --script tools/bench/parts.py $(ARGS)

bench-settings:  ## the forecast presets under the settings that people sample with, all trained models
	$(RUN) --script tools/bench/settings.py $(ARGS)

bench-hard:  ## the hard images of a cell: mean, mean of the worst six and worst of 48
	$(RUN) --script tools/bench/hard.py $(ARGS)

bench-validity:  ## what the tiny models give beside what is known of real ones: docs/validity.md
	$(RUN) --script tools/bench/validity.py $(ARGS)

bench-searched:  ## plans searched on the tiny models, for plain reuse and for forecasts
	$(RUN) --script tools/bench/searched_plans.py $(ARGS)

bench-noise:  ## the forecast presets under samplers that add noise, all trained models
	$(RUN) --script tools/bench/noise.py $(ARGS)

bench-compile:  ## torch.compile with and without the cache
	$(RUN) --script tools/bench/compiled.py $(ARGS)

bench-tune:  ## DiCache Tune on every testbed model, judged on other captions
	$(RUN) --script tools/bench/tune.py $(ARGS)

bench-plans:  ## plans that DiCache Tune finds against the forecast method's own, on other captions
	$(RUN) --script tools/bench/tuned_plans.py $(ARGS)

bench-risk:  ## does a run know how close its image is?
	$(RUN) --script tools/bench/risk.py $(ARGS)

bench-real:  ## your own model in your own ComfyUI (docs/real.md); without a workflow in ARGS the tiny Flux
	$(RUN) --script tools/real/on_testbed.py $(ARGS)

soak:  ## many runs in one server: memory and results stay put
	$(RUN) --script tools/bench/soak.py $(ARGS)

clean:  ## remove what demo, benches and tests wrote here; the cache of environments stays
	$(PYTHON) -c "import shutil; [shutil.rmtree(d, ignore_errors=True) for d in ('output', '.pytest_cache', '.ruff_cache', '.hypothesis')]"
