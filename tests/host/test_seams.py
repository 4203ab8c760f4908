"""The host's functions are called by what they have: each is given one more optional argument, and loses those that the
pack does not need.  Other ComfyUI versions do either."""

import functools
import importlib
import inspect
from inspect import Parameter

import pytest
import torch
from passes import Passes, some

pytestmark = pytest.mark.one_host
STEPS = 6

# Functions that the pack wraps or calls.
CALLED = (
    "comfy.samplers.CFGGuider.outer_sample",
    "comfy.samplers.CFGGuider.predict_noise",
    "comfy.samplers.KSAMPLER.sample",
    "comfy.sampler_helpers._prepare_sampling",
    "comfy.model_base.BaseModel._apply_model",
    "comfy.model_base.BaseModel.memory_required",
    "comfy.model_base.BaseModel.get_dtype_inference",
    "comfy.model_patcher.create_model_options_clone",
    "comfy.model_patcher.ModelPatcher.get_model_object",
    "comfy.model_sampling.CONST.noise_scaling",
    "comfy.ldm.flux.model.Flux._forward",
    "comfy.ldm.flux.layers.DoubleStreamBlock.forward",
    "comfy.ldm.flux.layers.SingleStreamBlock.forward",
)
# Of those that are wrapped, the arguments that the pack reads.
NEEDED = {
    "comfy.samplers.CFGGuider.outer_sample": {"sampler", "sigmas"},
    "comfy.samplers.CFGGuider.predict_noise": {"x"},
    "comfy.samplers.KSAMPLER.sample": {"sigmas", "callback"},
    "comfy.sampler_helpers._prepare_sampling": {"model", "noise_shape", "conds"},
    "comfy.model_base.BaseModel._apply_model": {"x", "transformer_options", "control"},
}


@pytest.fixture
def passes(comfy, monkeypatch):
    method_patching = comfy.module(f"{comfy.pack.__name__}.model_patchers.method_patching")
    method_patching.signature_in.cache_clear()
    yield Passes(comfy, "flux")
    monkeypatch.undo()
    method_patching.signature_in.cache_clear()


@pytest.fixture(scope="module")
def expected(comfy):
    passes = Passes(comfy, "flux")
    out = passes.sample(passes.cached(), steps=STEPS)
    assert some(passes.run)
    return out


def place(comfy, name):
    """The module or class that holds a function, and its name there."""
    parts = name.split(".")
    while True:
        try:
            owner = comfy.module(".".join(parts[:-1]))
            return owner, parts[-1]
        except ModuleNotFoundError:
            owner = getattr(comfy.module(".".join(parts[:-2])), parts[-2])
            return owner, parts[-1]


def same(passes, expected):
    return torch.equal(passes.sample(passes.cached(), steps=STEPS), expected) and passes.run.reused > 0


@pytest.mark.parametrize("name", CALLED)
def test_one_more_optional_argument(passes, comfy, monkeypatch, expected, name):
    owner, attribute = place(comfy, name)
    own, calls = getattr(owner, attribute), []
    parameters = list(inspect.signature(own).parameters.values())
    at = next((i for i, p in enumerate(parameters) if p.kind is Parameter.VAR_KEYWORD), len(parameters))
    parameters.insert(at, Parameter("unheard_of", Parameter.KEYWORD_ONLY, default=None))

    @functools.wraps(own)
    def longer(*args, unheard_of=None, **kwargs):
        calls.append(1)
        return own(*args, **kwargs)

    longer.__signature__ = inspect.Signature(parameters)
    monkeypatch.setattr(owner, attribute, longer)
    for module in vars(comfy.pack.model_patchers).values():  # names that were imported from there
        if inspect.ismodule(module) and vars(module).get(attribute) is own:
            monkeypatch.setattr(module, attribute, longer)
    assert same(passes, expected)
    assert calls, "nobody calls it"


@pytest.mark.parametrize("name", NEEDED)
def test_every_argument_that_is_not_needed_may_go(passes, comfy, expected, name):
    owner, attribute = place(comfy, name)
    own = getattr(owner, attribute)
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    optional = [p.name for p in inspect.signature(own).parameters.values() if p.kind in kinds and p.name != "self"]
    gone = [argument for argument in optional if argument not in NEEDED[name]]
    assert gone
    for argument in gone:
        with pytest.MonkeyPatch.context() as patch:
            calls = take_away(comfy, patch, owner, attribute, argument)
            assert same(passes, expected), argument
            assert calls, argument


@pytest.mark.parametrize("name", sorted(set(NEEDED) - {"comfy.samplers.KSAMPLER.sample"}))
def test_every_argument_by_name(passes, comfy, monkeypatch, expected, name):
    own = getattr(*place(comfy, name))
    executor, calls = comfy.module("comfy.patcher_extension").WrapperExecutor, []
    execute = executor.execute

    def called(self, *args, **kwargs):
        if self.idx == 0 and getattr(self.original, "__func__", self.original) is own:
            calls.append(1)
            given = inspect.signature(self.original).bind(*args, **kwargs)
            more = [p.name for p in given.signature.parameters.values() if p.kind is Parameter.VAR_KEYWORD]
            kwargs = dict(given.arguments)
            for extra in more:
                kwargs |= kwargs.pop(extra, {})
            args = ()
        return execute(self, *args, **kwargs)

    monkeypatch.setattr(executor, "execute", called)
    assert same(passes, expected)
    assert calls


def take_away(comfy, patch, owner, attribute, argument):
    """A host whose function has no such argument, and that calls it so: what wrappers see of it."""
    own, calls = getattr(owner, attribute), []
    whole = inspect.signature(own)
    known: dict[int, object] = {}
    nothing = object()

    @functools.wraps(own)
    def shorter(*args, **kwargs):
        calls.append(1)
        call = shorter.__signature__.bind(*args, **kwargs)
        more = {} if known[0] is nothing else {argument: known[0]}
        given = dict(call.arguments)
        for parameter in whole.parameters.values():
            if parameter.kind is Parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
        return own(**given, **more)

    shorter.__signature__ = whole.replace(parameters=[p for p in whole.parameters.values() if p.name != argument])
    executor = comfy.module("comfy.patcher_extension").WrapperExecutor
    execute = executor.execute

    def called(self, *args, **kwargs):
        if self.idx == 0 and getattr(self.original, "__func__", self.original) is shorter:
            bound = inspect.signature(own)
            if hasattr(self.original, "__self__"):
                bound = bound.replace(parameters=list(bound.parameters.values())[1:])
            call = bound.bind(*args, **kwargs)
            known[0] = call.arguments.pop(argument, nothing)
            args, kwargs = call.args, call.kwargs
        return execute(self, *args, **kwargs)

    patch.setattr(executor, "execute", called)
    patch.setattr(owner, attribute, shorter)
    return calls


@pytest.mark.parametrize("without", [None, "extra_args"])
def test_compare_times_a_sampler_by_the_hosts_order(comfy, monkeypatch, without):
    """Samplers of other packs have names of their own, and are called in the order of the host's."""
    compare = comfy.module(f"{comfy.pack.__name__}.model_patchers.compare")
    extension = comfy.module("comfy.patcher_extension")
    seen, steps = [], []

    def sample(wrapped, levels, *others):
        told, x, *_, quiet = others if without else others[1:]
        seen.append((levels, quiet))
        told(0, x, x, 2)
        return x

    order = [name for name in compare.SAMPLER_ARGUMENTS if name != without]
    monkeypatch.setattr(compare, "SAMPLER_ARGUMENTS", order)

    timed = compare.TimedSampler(steps.append)
    executor = extension.WrapperExecutor.new_executor(sample, [timed])
    sigmas, x = torch.tensor([1.0, 0.5, 0.0]), torch.ones(1, 1)
    assert executor.execute(None, sigmas, *([] if without else [{}]), None, x, None, None, True) is x
    assert seen[0][0] is sigmas
    assert seen[0][1] is True
    assert steps == [1]
    assert timed.steps == 2


def test_a_host_that_lost_a_helper_still_loads_the_pack(comfy, monkeypatch):
    """What one rule takes from a model's file is asked for when the rule is used."""
    family_hooks = comfy.module(f"{comfy.pack.__name__}.model_patchers.family_hooks")
    monkeypatch.delattr(comfy.module("comfy.ldm.flux.layers"), "apply_mod")
    monkeypatch.delattr(comfy.module("comfy.ldm.wan.model"), "repeat_e")
    importlib.reload(family_hooks)
