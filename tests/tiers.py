"""Which tests run when.  Every test belongs to one tier, and a tier takes the ones below it along.

``--tier fast`` runs ``lint`` and ``fast``; ``--above fast`` runs what that left out; both together, what lies between.
Without these options everything that was named runs.  A new test needs no row: in ``core`` it is fast, elsewhere it
runs in ``make test``, and with a model that stands for no others (``GRIDS``) in ``make test-all``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TIERS = LINT, FAST, TEST, ALL = "lint", "fast", "test", "all"
TESTS = Path(__file__).parent

# By folder, file, test and case: the most particular row counts.
ROWS = {
    "core": FAST,
    "golden": TEST,
    "golden/test_golden_toy.py": FAST,
    "host": TEST,
    "pack_nodes": TEST,
    "patchers": TEST,
    "web": TEST,
    # What looks at files only and runs nothing of the pack: `make lint`.
    "core/test_architecture.py": LINT,
    "core/test_contract.py": LINT,
    "core/test_imports.py": LINT,
    "core/test_links.py": LINT,
    "core/test_side_doors.py": LINT,
    "core/test_templates.py": LINT,
    "core/test_words.py": LINT,
    "core/test_workflows.py": LINT,
    # Many processes, or hundreds of random runs.
    "core/test_distributed.py": TEST,
    "core/test_distributed.py::test_ranks_decide_alike_and_as_one_process_does[4]": ALL,
    "core/test_distributed.py::test_a_lost_rank_ends_the_others_with_an_error": ALL,
    "core/test_stream_group.py::test_a_stream_that_comes_late_is_computed_once_and_then_follows": TEST,
    "core/test_stream_group.py::test_one_decision_however_the_host_hands_them_over": TEST,
    "core/test_random_sequences.py": TEST,
    # Draws every plot.
    "core/test_pareto.py": TEST,
    # Quick although they need a ComfyUI: the schema, and one family.
    "pack_nodes/test_schema.py": FAST,
    "patchers/test_variants.py": FAST,
    # Every policy, sampler, format and language once more, what starts processes of its own, and the tests' own tools.
    "host/test_added_noise.py": ALL,
    "host/test_any_model.py::test_a_model_compiled_whole_keeps_its_graph_under_an_output_policy": ALL,
    "host/test_any_model.py::test_nothing_is_changed_where_everything_is_computed": ALL,
    "host/test_any_model.py::test_own_presets_on_a_unet_are_ahead_of_fewer_steps": ALL,
    "host/test_archive.py::test_an_installed_pack_has_its_help_pages": ALL,
    "host/test_archive.py::test_an_installed_pack_has_its_templates_and_translations": ALL,
    "host/test_archive.py::test_an_older_comfyui_is_told_in_one_line_before_what_fails_there": ALL,
    "host/test_archive.py::test_installs_into_an_empty_comfyui_and_loads": ALL,
    "host/test_archive.py::test_the_registrys_tool_has_nothing_to_say_against_it": ALL,
    "host/test_archive.py::test_the_registrys_tool_packs_the_same": ALL,
    "host/test_bench_real.py": ALL,
    "host/test_bench_speed.py": ALL,
    "host/test_building.py": ALL,
    "host/test_calls_cost.py": ALL,
    "host/test_comfy_compiler.py": ALL,
    "host/test_comfy_compiler.py::test_published_runs_with_the_compiler_off": TEST,
    "host/test_comfy_compiler.py::test_a_forecast_preset_stays_outside": TEST,
    "host/test_compile.py": ALL,
    "host/test_compile.py::test_right_results_and_no_compiling_without_end[flux-cache-per block-1.0]": TEST,
    "host/test_demo.py": ALL,
    "host/test_every_sampler.py": ALL,
    "host/test_faults.py::test_values_that_are_not_finite": ALL,
    "host/test_faults.py::test_values_that_are_not_finite[3-nan-block1]": TEST,
    "host/test_hostile.py": ALL,
    "host/test_required_tests_plugin.py": ALL,
    "host/test_library.py": ALL,
    "host/test_known_methods.py": ALL,
    "host/test_over_ray.py::test_a_preset_of_blocks_gives_way_where_conds_are_split_and_the_log_says_so": ALL,
    "host/test_over_ray.py::test_an_actor_that_dies_ends_the_run_with_an_error": ALL,
    "host/test_over_ray.py::test_an_actor_that_is_stuck_ends_the_run_with_an_error": ALL,
    "host/test_over_ray.py::test_what_cannot_work_is_refused_in_one_sentence": ALL,
    "host/test_policies.py::test_the_speed_target_is_met": ALL,
    "host/test_provision.py::test_environment_sees_the_shared_packages_and_is_made_once": ALL,
    "host/test_quantised.py": ALL,
    "host/test_reach.py": ALL,
    "host/test_same_model.py::test_a_lora_before_and_after": ALL,
    "host/test_same_model.py::test_two_nodes_on_branches_of_one_model": ALL,
    "host/test_samplers.py::test_every_combination": ALL,
    "host/test_samplers.py::test_every_sampler": ALL,
    "host/test_soak.py": ALL,
    "host/test_seams.py": ALL,
    "host/test_server.py::test_no_server_outlives_its_owner": ALL,
    "host/test_sparse_attention.py": ALL,
    "host/test_targets.py": ALL,
    "host/test_targets.py::test_every_target_of_the_makefile_has_a_row_and_no_other": LINT,
    "host/test_targets.py::test_every_target_that_a_page_names_has_a_row": LINT,
    "host/test_targets.py::test_pages_name_targets": LINT,
    "host/test_testbed.py": ALL,
    "host/test_veto.py::test_a_consistent_student_keeps_its_picture_whatever_the_speed": ALL,
    "host/test_veto.py::test_straight_paths_are_worth_a_third": ALL,
    "pack_nodes/test_tune.py::test_a_speed_is_reached": ALL,
    "pack_nodes/test_tune.py::test_a_guider_and_sigmas_take_the_widgets_place": ALL,
    "pack_nodes/test_tune.py::test_compare_knows_it_too": ALL,
    "pack_nodes/test_tune.py::test_every_sample_of_a_batch_counts_and_each_prompt_has_its_seed": ALL,
    "pack_nodes/test_tune.py::test_tuning_again_tunes_where_what_was_tuned_is_gone_and_only_there": ALL,
    "pack_nodes/test_tune.py::test_the_default_question_at_thirty_steps": ALL,
    "patchers/test_sampled.py::test_a_class_of_no_family": ALL,
    "patchers/test_sampled.py::test_compare": ALL,
    "patchers/test_sampled.py::test_every_sampler_outside_inference_mode": ALL,
    "web/test_app_builder.py": ALL,
    "web/test_colours.py": ALL,
    "web/test_finding.py": ALL,
    "web/test_installed.py": ALL,
    "web/test_live_view.py": ALL,
    "web/test_live_view.py::test_a_second_queue": TEST,
    "web/test_live_view.py::test_drop_run_and_watch": TEST,
    "web/test_live_view.py::test_within_a_subgraph": TEST,
    "web/test_live_view.py::test_zero_threshold_says_why": TEST,
    "web/test_looks.py": ALL,
    "web/test_policies.py": ALL,
    "web/test_results.py": ALL,
    "web/test_tune.py": ALL,
    "web/test_without_apply.py": ALL,
    "web/test_workflows.py::test_opened_from_the_browser_it_says_legibly_what_to_do": ALL,
    "web/test_workflows.py::test_building_them_one_after_the_other_gives_the_files": ALL,
}

# Files that take longest, the longest first: workers take whole files, and the last one to finish decides.
LONGEST = (
    "host/test_over_ray.py",
    "host/test_targets.py",
    "web/test_live_view.py",
    "web/test_installed.py",
    "web/test_workflows.py",
    "patchers/test_sampled.py",
    "web/test_tune.py",
    "host/test_every_sampler.py",
    "host/test_samplers.py",
    "web/test_looks.py",
    "pack_nodes/test_tune.py",
    "host/test_runs.py",
    "host/test_building.py",
    "host/test_quantised.py",
    "host/test_testbed.py",
    "host/test_guidance.py",
    "host/test_policies.py",
    "host/test_faults.py",
    "host/test_same_model.py",
    "host/test_sparse_attention.py",
    "web/test_finding.py",
)

# Parameters of the tests in a real ComfyUI, and the values of them that stand for the others; those wait for ``all``.
LAYOUTS = {  # a toy for each way in which a family's blocks are called
    "aura_flow": TEST,  # two parts
    "chroma_radiance": TEST,  # text and picture joined in the second part
    "cosmos_1": TEST,  # the batch is not the first dimension
    "hidream_i1": TEST,  # the picture first
    "hidream_o1": TEST,  # keeps its prompt's keys
    "hunyuan_3d_2_1": TEST,  # batch halves are swapped
    "lumina_2": TEST,  # one tensor, no keys
    "ltx_2": TEST,  # two latents, weights that stream
    "qwen_image": TEST,  # pairs of text and picture
    "seedvr2": TEST,  # no batch dimension
    "stable_diffusion_3": TEST,  # arguments by position
}
GRIDS = {
    "architecture": {"flux": TEST},
    "passes": {"flux": TEST},
    "variant": {"flux": FAST, "hunyuan_text_to_video": TEST, "wan_text_to_video": TEST, "wan_vace": TEST},
    "toy": LAYOUTS,
    "make": LAYOUTS | {"flux": TEST, "sd_1": TEST, "wan_text_to_video": TEST, "z_image": TEST},
    "unet": {"sd_1": TEST},
    "one_family": {"qwen_image-simple": TEST},  # in the host's sampler
    "one_of_some": {"z_image": TEST},
    "run": {"tokens over 2": TEST, "conds over 2": TEST},  # over Ray
    "renderer": {"nodes2": TEST},
    "site": {"pinned": TEST},  # the front end that ComfyUI pins, and the newest one
}


def row_of(case: str) -> str:
    """The tier of the most particular row, of a case like ``core/test_x.py::test_y[z]``."""
    file, test = case.partition("::")[0], case.partition("[")[0]
    rows = (ROWS.get(name) for name in (case, test, file, file.partition("/")[0]))
    return next((row for row in rows if row), TEST)


def place_of(item: pytest.Item) -> int:
    """Where a test's file stands in ``LONGEST``, or behind all of them."""
    file = item.path.relative_to(TESTS).as_posix()
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def tier_of(item: pytest.Item) -> str:
    """The one tier of a case: its row's, or a higher one that a value of its parameters asks for."""
    file = item.path.relative_to(TESTS).as_posix()
    asked = [row_of(f"{file}::{item.name}")]
    if "host" in getattr(item, "fixturenames", ()):
        asked += _of_values(getattr(item, "callspec", None))
    return max(asked, key=TIERS.index)


def _of_values(callspec: Any) -> Iterator[str]:
    for name, value in callspec.params.items() if callspec else ():
        if name in GRIDS:
            yield GRIDS[name].get(_name(value), ALL)


def _name(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_name, value))
    return getattr(value, "__name__", str(value))


class Tiers:
    """Plugin: chooses tests by ``--tier`` and ``--above``, and does not even import files without any."""

    def __init__(self, config: pytest.Config) -> None:
        upto, above = config.getoption("--tier"), config.getoption("--above")
        self.wanted = TIERS[TIERS.index(above) + 1 if above else 0 : TIERS.index(upto) + 1]

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        if collection_path.suffix != ".py" or TESTS not in collection_path.parents:
            return None
        file = collection_path.relative_to(TESTS).as_posix()
        rows = [row_of(file), *(tier for test, tier in ROWS.items() if test.startswith(f"{file}::"))]
        lowest = min(rows, key=TIERS.index)
        return True if TIERS.index(lowest) > TIERS.index(self.wanted[-1]) else None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen = {item: tier_of(item) in self.wanted for item in items}
        config.hook.pytest_deselected(items=[item for item in items if not chosen[item]])
        items[:] = sorted((item for item in items if chosen[item]), key=place_of)


def add_tier_options(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, default=ALL, help="only tests of this tier and of those below")
    parser.addoption("--above", choices=TIERS[:-1], help="only tests of the tiers above this one")
