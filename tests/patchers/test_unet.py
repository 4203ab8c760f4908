"""DeepCache: the deep part of a U-Net with a cache around it, compared with itself; the host's class."""

import functools
import logging

import pytest
import torch
from cached import ALWAYS, NEVER, Cached, counted, options_of
from host_network import BATCH, build, noise, text
from toy import Toy

NAME = "modules.diffusionmodules.openaimodel.UNetModel"


def _unet(**more):
    settings = dict(image_size=32, in_channels=4, model_channels=32, out_channels=4, num_res_blocks=2, num_heads=2)
    settings |= dict(channel_mult=(1, 2, 2), use_spatial_transformer=True, context_dim=12, legacy=False)
    settings |= dict(transformer_depth=[1, 1, 1, 1, 0, 0], transformer_depth_output=[1] * 6 + [0] * 3)
    return build(NAME, **(settings | dict(transformer_depth_middle=1) | more))


def sd_1() -> Toy:
    return Toy(_unet(), noise(BATCH, 4, 8, 12), dict(context=text(12)), timestep=torch.full((BATCH,), 500.0))


def sdxl() -> Toy:
    depths = dict(transformer_depth=[0, 0, 1, 1, 2, 2], transformer_depth_output=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    model = _unet(num_classes="sequential", adm_in_channels=6, use_linear_in_transformer=True, **depths)
    arguments = dict(context=text(12), y=noise(BATCH, 6, seed=3))
    return Toy(model, noise(BATCH, 4, 8, 12), arguments, timestep=torch.full((BATCH,), 500.0))


def video() -> Toy:
    """Two frames, which attend to each other."""
    model = _unet(
        use_temporal_attention=True,
        use_temporal_resblock=True,
        extra_ff_mix_layer=True,
        video_kernel_size=[3, 1, 1],
        merge_strategy="learned_with_images",
    )
    arguments = dict(context=text(12), num_video_frames=2, image_only_indicator=torch.zeros(1, 2))
    return Toy(model, noise(BATCH, 4, 8, 12), arguments, timestep=torch.full((BATCH,), 500.0))


@functools.cache
def built(make):
    return make()


@pytest.fixture(params=[sd_1, sdxl, video], ids=lambda make: make.__name__)
def unet(request, pack, shows):
    unet = built(request.param)
    shows("toy", unet.model)
    return unet


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def layers_of(blocks):
    return [layer for block in blocks for layer in block]


def deep_and_outer(model, outer):
    kept = len(model.output_blocks) - outer
    deep = [*model.input_blocks[outer:], model.middle_block, *model.output_blocks[:kept]]
    return layers_of(deep), layers_of([*model.input_blocks[:outer], *model.output_blocks[kept:]])


@pytest.mark.parametrize("outer", [1, 2, 3, 4, 7])
def test_composition_that_computes_changes_nothing(pack, unet, outer):
    wrapped = Cached(pack, unet, NEVER, {"probe_depth": outer})
    for step in range(3):
        x = unet.x * (1 - step / 10)
        assert torch.equal(wrapped(x, step), unet(x, options_of(step)))
    assert set(wrapped.decisions) == {"no anchor yet", "error"}


@pytest.mark.parametrize("settings", [{"indicator": "fixed"}, {"predictor": "trajectory"}, {"residual_bits": 8}])
@pytest.mark.parametrize("outer", [1, 2, 3, 4, 7])
def test_a_reused_pass_runs_the_outermost_blocks_only(pack, unet, outer, settings):
    threshold = 3.0 if "indicator" in settings else ALWAYS
    wrapped = Cached(pack, unet, threshold, dict(probe_depth=outer) | settings)
    computed = wrapped(unet.x, 0)
    deep, around = deep_and_outer(unet.model, outer)
    with counted(deep) as inside, counted(around) as outside:
        reused = wrapped(unet.x, 1)
    assert set(wrapped.decisions[BATCH:]) == {"reused"}
    tolerance = 0.03 if "residual_bits" in settings else 2e-5
    assert (reused - computed).abs().max() <= tolerance * computed.abs().max()
    assert inside == [0] * len(deep)
    assert outside == [1] * len(around)


def test_published_setting_is_interval_and_branch(pack, unet):
    """Every third step in full; in between the deep feature stands still while the outer blocks see the new input."""
    wrapped = Cached(pack, unet, 3.0, {"indicator": "fixed", "interval": 3})
    policy = pack.dicache_core.policies.POLICIES["deepcache"]
    assert (policy.indicator, policy.predictor, policy.interval, policy.probe_depth) == ("fixed", "reuse", 3, 1)
    seen, last = [], unet.model.output_blocks[-2]
    handle = layers_of([last])[-1].register_forward_hook(lambda _m, _a, out: seen.append(out.clone()))
    try:
        outs = [wrapped(unet.x * (1 - step / 10), step) for step in range(7)]
    finally:
        handle.remove()
    assert [d == "reused" for d in wrapped.decisions[::BATCH]] == [False, True, True, False, True, True, False]
    assert torch.equal(seen[1], seen[0])
    assert torch.equal(seen[2], seen[0])
    assert torch.equal(seen[4], seen[3])
    assert not torch.equal(seen[3], seen[0])
    assert len({float(out.sum()) for out in outs}) == 7


def test_rows_that_disagree(pack, unet):
    wrapped = Cached(pack, unet, 1e-6)
    first = wrapped(unet.x, 0)
    x = unet.x.clone()
    x[1] = 2 * x[1] + 1
    mixed = wrapped(x, 1)
    assert wrapped.decisions[2:] == ["reused", "error"]
    if "num_video_frames" not in unet.arguments:
        torch.testing.assert_close(mixed[0], first[0], atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(mixed[1], unet(x, options_of(1))[1], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("outer", [1, 3, 4])
def test_control_in_the_deep_part_is_left_out_without_a_word(pack, outer, caplog):
    """The host takes each block's control from the end of a list and complains where it does not fit."""
    unet = built(sd_1)
    shapes = {"input": [], "middle": [], "output": []}

    def look(name):
        return lambda _m, _a, out: shapes[name].append(out.shape)

    parts = [("input", b) for b in unet.model.input_blocks] + [("middle", unet.model.middle_block)]
    handles = [layers_of([block])[-1].register_forward_hook(look(name)) for name, block in parts]
    unet(unet.x, options_of(0))
    for handle in handles:
        handle.remove()
    of_inputs = [noise(*shape, seed=i) for i, shape in enumerate(shapes["input"])]

    def control():
        outputs = [tensor.flip(0) for tensor in of_inputs]  # in the order of the input blocks, taken from the end
        return {"input": of_inputs[::-1], "middle": [noise(*shapes["middle"][0])], "output": outputs}

    expected = unet_with(unet, control())
    assert not torch.equal(expected, unet(unet.x, options_of(0)))
    wrapped = Cached(pack, unet, ALWAYS, {"probe_depth": outer})
    with caplog.at_level(logging.WARNING):
        assert torch.equal(wrapped(unet.x, 0, control=control()), expected)
        given = control()
        torch.testing.assert_close(wrapped(unet.x, 1, control=given), expected, atol=2e-5, rtol=2e-5)
    assert set(wrapped.decisions[BATCH:]) == {"reused"}
    assert [r for r in caplog.records if "control could not" in r.getMessage()] == []
    assert given == {"input": [], "middle": [], "output": []}, "every block took its own"


def unet_with(unet, control):
    return unet.model(
        unet.x.clone(), unet.timestep, transformer_options=options_of(0), control=control, **unet.arguments
    )


def test_nothing_is_left_behind(pack, unet):
    wrapped = Cached(pack, unet, ALWAYS)
    wrapped(unet.x, 0)

    def fail(*_):
        raise RuntimeError("interrupted, say")

    handle = unet.model.out.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        wrapped(unet.x, 1)
    handle.remove()
    assert not [name for name, module in unet.model.named_modules() if {"forward", "_forward"} & set(vars(module))]


def test_size_is_known_beforehand(pack, unet):
    wrapped = Cached(pack, unet, NEVER)
    wrapped(unet.x, 0)
    (history, *_) = wrapped.session.histories
    tokens, width = wrapped.family.size(unet.model, unet.x.shape)
    assert history.layouts["deep"][0] == (width, *unet.x.shape[2:])
    assert tokens == unet.x.shape[2:].numel()
