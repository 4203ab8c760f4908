"""What a run's skips may have put its picture off by, and the veto that follows from it; numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheSession, SampleKey, resolve
from dicache_core.methods.error_estimate import ErrorEstimator, image_weight_of, latent_weight_of
from dicache_core.schedule import CallSequence, Schedule

TEN = schedule()
ONES, TWOS = torch.ones(1, 2, 2), torch.full((1, 2, 2), 2.0)  # sums of squares 4 and 16
FIFTH, SIXTH, SEVENTH = 0.1 / 0.505, 0.1 / 0.605, 0.1 / 0.705  # dsigma over the signal, which is softened by 0.005
HALF_OFF = torch.tensor(1.0)  # the sum of squares of four values that are off by 0.5


def step(index: int):
    return TEN.step_at(TEN.sigmas[index])


def settled(account: ErrorEstimator) -> None:
    account.load_sums([float(value) for value in account.measure()])


def audited() -> ErrorEstimator:
    """One call skipped, at half of the noise, and then an audit: off by 0.5 with a reach of 1."""
    account = ErrorEstimator()
    account.compute(ONES, TWOS)
    account.skip(step(5))
    account.compute(ONES, TWOS, HALF_OFF, horizon=1.0)
    settled(account)
    return account


def test_a_call_weighs_its_dsigma_against_the_signal_in_a_rectified_flow():
    assert [latent_weight_of(step(i)) for i in (1, 5, 6, 7)] == pytest.approx([0.1 / 0.105, FIFTH, SIXTH, SEVENTH])


def test_where_noise_is_added_to_a_whole_picture_a_call_weighs_its_dsigma():
    eps = Schedule((9.0, 3.0, 0.0), noise_share=lambda sigma: sigma / (1 + sigma))
    assert latent_weight_of(eps.step_at(3.0)) == pytest.approx(3.0, rel=0.02)
    assert latent_weight_of(eps.step_at(9.0)) == pytest.approx(6.0, rel=0.05)


def test_a_call_that_only_helps_to_find_another_weighs_a_quarter_of_its_way():
    plan = Schedule((1.0, 0.6, 0.0), sequences=(CallSequence((1.0, 0.6), weights=(0.0, 2.0)),))
    assert [plan.step_at(sigma).clamped_weight for sigma in (1.0, 0.6)] == pytest.approx([0.1, 1.2]), (
        "and twice it at most"
    )


def test_what_is_taken_back_later_strains_by_the_way_to_the_next_call():
    """A multistep sampler's result hardly weighs a call that moved its input by a whole step and more."""
    sequence = CallSequence((0.6, 0.4), weights=(-0.01, -0.5))

    def strains(steps_before):
        plan = Schedule((0.6, 0.4, 0.0), steps_before, sequences=(sequence,))
        return [latent_weight_of(plan.step_at(sigma)) for sigma in (0.6, 0.4)]

    assert strains(steps_before=7) == pytest.approx([0.2 / 0.405, 0.5 / 0.605])
    for steps_before in (6, 14):  # of 8 steps and of 16 by a quarter of it, as in plans
        assert strains(steps_before) == pytest.approx([0.05 / 0.405, 0.5 / 0.605])


def test_of_two_calls_at_one_noise_level_the_first_strains_by_its_weight():
    plan = Schedule(
        (1.0, 0.5, 0.0), steps_before=7, sequences=(CallSequence((1.0, 0.5, 0.5), weights=(-0.25, -0.1, -0.65)),)
    )
    second, third = (plan.step_at(0.5, call_index=call) for call in (1, 2))
    assert [latent_weight_of(second), latent_weight_of(third)] == pytest.approx([0.1 / 0.505, 0.65 / 0.505])


def test_before_anything_is_known_there_is_no_strain():
    account = ErrorEstimator()
    assert account.latent_error_with(step(5), 1.0) == 0
    settled(account)
    assert account.latent_error_with(step(5), 1.0) == 0


def test_before_the_first_audit_a_forecast_is_guessed_to_be_off_by_0_3_of_the_output():
    account = ErrorEstimator()
    account.compute(ONES, TWOS)
    settled(account)
    assert account.latent_error_with(step(5), 7.0) == pytest.approx(0.3 * math.sqrt(4 * FIFTH**2 / 16))


def test_what_is_seen_of_a_call_is_its_dsigma_or_shared_with_the_noise_where_that_is_added_to_a_whole_picture():
    eps = Schedule((9.0, 3.0, 0.0), noise_share=lambda sigma: sigma / (1 + sigma))
    assert [image_weight_of(step(5)), image_weight_of(eps.step_at(3.0))] == pytest.approx([0.1, 3.0 / 16.0])


def test_what_stays_of_an_error_is_the_noise_s_share_at_its_audit():
    account = ErrorEstimator()
    account.skip(step(5))  # weighs 0.1
    account.skip(step(6))
    assert account.displaced_by(TWOS, step(7)).unique().tolist() == pytest.approx([0.2 * 2.0 * 0.3])


def test_under_a_multistep_sampler_it_counts_twice():
    ways = CallSequence((0.6, 0.4, 0.2), weights=(-0.2, -0.2, -0.2))
    multistep = replace(ways, weights=(-0.3, -0.1, -0.2))
    found = []
    for sequence in (ways, multistep):
        account, plan = ErrorEstimator(), Schedule((0.6, 0.4, 0.2, 0.0), sequences=(sequence,))
        account.image_weight = 1.0
        found.append(float(account.displaced_by(ONES, plan.step_at(0.4)).mean()))
    assert found == pytest.approx([0.4, 0.8])


def test_the_next_skip_is_as_far_off_as_it_reaches():
    assert audited().latent_error_with(step(6), 2.0) == pytest.approx(math.sqrt((FIFTH**2 + 2.0**2 * SIXTH**2) / 16))


def test_skips_in_a_row_add_up_before_they_are_squared():
    account = audited()
    account.skip(step(6))
    assert account.latent_error_with(step(7), 2.0) == pytest.approx(math.hypot(FIFTH, 2.0 * (SIXTH + SEVENTH)) / 4)


def test_a_skip_that_adds_little_to_what_is_spent_is_taken_alone():
    spent = audited()  # FIFTH on 1.0; a skip that reaches a tenth as far is off by 0.1 and weighs SIXTH
    assert spent.latent_error_with(step(6), 0.1) == pytest.approx(0.1 * SIXTH / 4)
    assert spent.latent_error_with(step(6), 1.0) == pytest.approx(math.hypot(FIFTH, SIXTH) / 4)


def test_a_second_call_at_a_noise_level_says_nothing_of_other_levels():
    account = audited()
    account.compute(ONES, TWOS, torch.tensor(0.0), horizon=0.0)
    settled(account)
    assert account.latent_error_with(step(6), 2.0) == audited().latent_error_with(step(6), 2.0)


def test_sums_are_fetched_once():
    account = audited()
    assert account.measure() == ()


def test_where_forecasts_are_worth_nothing_the_risk_is_not_to_be_taken():
    account = audited()
    account.compute(ONES, TWOS, torch.tensor(4.0), horizon=1.0)
    settled(account)
    assert account.latent_error_with(step(6), 0.1) == math.inf


# -- the veto -------------------------------------------------------------------------------------------------------


def run(outputs, preset="balanced", steps=20, plan=None, **settings):
    """Per step the reasons, where ``outputs`` maps a stream to its output at a step; all streams in one pass."""
    plan = plan or schedule(steps)
    session, found = CacheSession(replace(resolve("flux", preset), **settings), plan), []
    for index, sigma in enumerate(plan.sigmas[:-1]):
        keys = [SampleKey(stream, 0) for stream in outputs]
        cache = session.forward(keys, plan.step_at(sigma), torch.zeros(len(keys), 1, 4, 4))
        if all(cache.decide()):
            v = cache.forecast()
        else:
            v = torch.stack([output(index) for output in outputs.values()])
            cache.observe(v, torch.ones_like(v))
        share = 1 / len(keys)
        session.image_error_estimator.add(v.mean(0, keepdim=True), cache.parts(v, [share] * len(keys)))
        found.append([decision.reason for decision in cache.decisions])
    session.finalize()
    return found, session.statistics.image_error


def jumps(index: int) -> torch.Tensor:
    return 3 * torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(index))


def steady(index: int) -> torch.Tensor:
    return torch.ones(1, 4, 4)


def test_a_steady_model_is_never_vetoed():
    found, risk = run({"cond": steady})
    assert [reasons[0] for reasons in found].count("reused") == 10
    assert "forecasts off" not in {reasons[0] for reasons in found}
    assert risk == 0


@pytest.mark.parametrize(("preset", "computed"), [("balanced", 15), ("fast", 10)])
def test_a_veto_before_the_first_audit_costs_no_speed(preset, computed):
    """It speaks of no forecast of this run: the call takes the place of one that was planned later."""
    sigmas = (*(40.0 * (0.03 / 40.0) ** (i / 29) for i in range(30)), 0.0)
    found, _ = run({"cond": steady}, preset, plan=Schedule(sigmas, noise_share=lambda sigma: sigma / (1 + sigma)))
    reasons = [reasons[0] for reasons in found]
    assert reasons[1] == "forecasts off", "the plan would skip it"
    assert len(reasons) - reasons.count("reused") == computed


@pytest.mark.parametrize("settings", [{"preset": "fast"}, {"target": "8"}])
def test_of_a_sampler_that_nobody_knows_nothing_is_skipped_before_the_first_audit(settings):
    """Here the plan would skip the second call."""
    sigmas = (1.0, 0.995, 0.99, *(0.99 - 0.99 * i / 17 for i in range(1, 17)), 0.0)
    known, _ = run({"cond": steady}, plan=Schedule(sigmas), **settings)
    found, _ = run({"cond": steady}, plan=Schedule(sigmas, sampler_known=False), **settings)
    assert known[1] == ["reused"]
    assert found[1] == ["no audit yet"]
    assert "no audit yet" not in {reasons[0] for reasons in found[2:]}
    assert sum(reasons == ["reused"] for reasons in found) == sum(reasons == ["reused"] for reasons in known)


@pytest.mark.parametrize("steps", [4, 8, 12, 20, 30])
@pytest.mark.parametrize("preset", ["fidelity", "balanced", "fast"])
def test_a_model_that_jumps_is_computed(preset, steps):
    found, _ = run({"cond": jumps}, preset, steps)
    reasons = [reasons[0] for reasons in found]
    assert reasons.count("reused") <= 1, "one skip may come before the first audit"
    assert reasons.count("forecasts off") >= 1


def test_a_count_is_taken_at_its_word():
    found, risk = run({"cond": jumps}, target="8")
    assert [reasons[0] for reasons in found].count("reused") == 12
    assert risk > 0.5


def test_streams_of_a_sample_answer_together():
    """Guidance subtracts them: one alone, computed beside a forecast of the other, would show the difference."""
    found, _ = run({"cond": steady, "uncond": jumps})
    assert all(first == second for first, second in found)
    assert ["forecasts off", "forecasts off"] in found


def test_skips_that_no_call_audits_are_guessed_from_the_audit_before():
    account = audited()
    assert account.unaudited() is None
    account.skip(step(6))
    account.skip(step(7))
    horizon = TEN.log_snr(TEN.sigmas[8]) - TEN.log_snr(TEN.sigmas[5])
    left = TEN.sigmas[8]  # of the noise at the call that would have been the audit
    displaced = 0.5 * horizon * sum(image_weight_of(step(i)) for i in (6, 7)) * left
    assert float(account.unaudited()) == pytest.approx(4 * displaced**2)
    account.compute(ONES, TWOS, HALF_OFF, horizon=1.0)
    assert account.unaudited() is None


def test_skips_before_any_audit_are_guessed_from_the_output():
    account = ErrorEstimator()
    account.compute(ONES, TWOS)
    account.skip(step(5))
    assert float(account.unaudited()) == pytest.approx(4 * (0.3 * image_weight_of(step(5)) * TEN.sigmas[6]) ** 2)
