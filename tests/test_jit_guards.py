"""What a jitted step's Python reads, wherever it stands: a change of it is an error that names it."""

import functools
import logging
import pathlib
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
from jit_steps import never_silently_wrong, numbers, same_as_eager
from test_jit_safety import calls, changing, refused

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.jit import names

# ---------------------------------------------------------------- where a number may stand

shared = [2.0]
of_a_class = [2.0]


class Slotted:
    __slots__ = ("scale", "unset")

    def __init__(self):
        self.scale = 2.0


class Below(Slotted):
    __slots__ = ("other",)


class Own(dict):
    def __getitem__(self, key):
        raise AssertionError("the step does not call this")


class Called:
    of_class = of_a_class

    def __init__(self, source=None):
        self.scale, self.source = 2.0, source

    def __call__(self):
        return self.source[0] if self.source else self.scale


class FromClass(Called):
    def __call__(self):
        return self.of_class[0]


class Around:
    """Functions that something stands around."""

    @property
    def as_property(self):
        return shared[0]

    @staticmethod
    def as_static():
        return shared[0]

    @classmethod
    def as_class(cls):
        return shared[0]

    def __getitem__(self, i):
        return shared[0]


class Base:
    inherited = 2.0


class Heir(Base):
    pass


class Model(nn.Module):
    def __init__(self):
        self.scales, self.option = [2.0], {"scale": 2.0}

    def forward(self):
        return shared[0]


class Above(nn.Module):
    def __init__(self):
        self.inner = Model()

    def forward(self):
        return self.inner.option["scale"]


def given(scale):
    return scale


def by_default(*, scale=2.0):
    return scale


def of_its_own():
    return of_its_own.scale


@functools.cache
def cached(_):
    return shared[0]


@pytest.fixture(autouse=True)
def _as_it_was():
    """A story that ends with an error leaves its numbers changed."""
    shared[0] = of_its_own.scale = of_a_class[0] = Base.inherited = by_default.__kwdefaults__["scale"] = 2.0
    cached.cache_clear()


def at(key):
    return lambda b, v: b.__setitem__(key, v)


def attribute(name):
    return lambda b, v: setattr(b, name, v)


def elsewhere(where):
    return lambda b, v: where.__setitem__(0, v)


def into_set(b, v):
    b.clear()
    b.add(v)


def into_first(b, v):
    next(iter(b)).scale = v


def first(b):
    return next(iter(b)).scale


def call(b):
    return b()


# what it is called -> what makes the thing that the step has, how it reads the number there, what puts it there
PLACES = {
    "box.keywords['scale']": (
        lambda: functools.partial(given, scale=2.0),
        call,
        lambda b, v: at("scale")(b.keywords, v),
    ),
    "box.args[0][0]": (lambda: functools.partial(lambda a: a[0], [2.0]), call, lambda b, v: at(0)(b.args[0], v)),
    "box.func.scale": (lambda: functools.partial(of_its_own), call, lambda b, v: setattr(of_its_own, "scale", v)),
    "box.scale of slots": (Slotted, lambda b: b.scale, attribute("scale")),
    "box.scale of a base's slots": (Below, lambda b: b.scale, attribute("scale")),
    "box['a'] of defaultdict": (lambda: defaultdict(float, a=2.0), lambda b: b["a"], at("a")),
    "box['a'] of OrderedDict": (lambda: OrderedDict(a=2.0), lambda b: b["a"], at("a")),
    "box['a'] of Counter": (lambda: Counter(a=2.0), lambda b: b["a"], at("a")),
    "box['a'] of a class of its own": (lambda: Own(a=2.0), lambda b: b.get("a"), at("a")),
    "box of numbers": (lambda: {2.0}, lambda b: next(iter(b)), into_set),
    "box[0].scale of a set": (lambda: {Called()}, first, into_first),
    "box[0].scale of a frozenset": (lambda: frozenset([Slotted()]), first, into_first),
    "box[0].scale of a tuple": (lambda: (Slotted(), 1), first, into_first),
    "box[0] of deque": (lambda: deque([2.0]), lambda b: b[0], at(0)),
    "box.scale of what is called": (Called, call, attribute("scale")),
    "box.source[0] of what is called": (lambda: Called([2.0]), call, lambda b, v: at(0)(b.source, v)),
    "Called.of_class[0]": (FromClass, call, elsewhere(of_a_class)),
    "shared[0] by a property": (Around, lambda b: b.as_property, elsewhere(shared)),
    "shared[0] by a static method": (Around, lambda b: b.as_static(), elsewhere(shared)),
    "shared[0] by a method of the class": (Around, lambda b: b.as_class(), elsewhere(shared)),
    "shared[0] by an operator": (Around, lambda b: b[0], elsewhere(shared)),
    "shared[0] by a cache": (lambda: cached, lambda b: b(0), lambda b, v: (b.cache_clear(), at(0)(shared, v))),
    "shared[0] by forward": (Model, call, elsewhere(shared)),
    "Model.scales[0]": (Model, lambda b: b.scales[0], lambda b, v: at(0)(b.scales, v)),
    "Model.option['scale']": (Above, call, lambda b, v: at("scale")(b.inner.option, v)),
    "Base.inherited": (lambda: Heir, lambda b: b.inherited, lambda b, v: setattr(Base, "inherited", v)),
    "box.scale of a function": (lambda: of_its_own, call, attribute("scale")),
    "the defaults of box['scale']": (lambda: by_default, call, lambda b, v: at("scale")(b.__kwdefaults__, v)),
}


def story_of(make, read, put):
    return changing(lambda: (make(), read), put)


@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_changes_where_the_step_reads_it_is_refused_and_named(place):
    said = never_silently_wrong(story_of(*PLACES[place]))
    called = place.partition(" of ")[0].partition(" by ")[0] if not place.startswith("the") else place
    was, now = ("{2.0}", "{3.0}") if place == "box of numbers" else ("2.0", "3.0")
    assert said.startswith(f"{called} was {was} when the step was recorded, and is {now} now"), said


BLINDED = {
    "_of_function": "shared[0] by an operator",
    "_of_container": "box['a'] of OrderedDict",
    "_of_object": "box.scale of slots",
    "_of_class": "shared[0] by an operator",
    "_of_ours": "Model.scales[0]",
    "_functions_given_to": "shared[0] by a cache",
}


@pytest.mark.parametrize("part", BLINDED)
def test_guards_that_do_not_look_there_are_caught(part, monkeypatch):
    monkeypatch.setattr(names, part, lambda *args, **params: [])
    with pytest.raises(AssertionError):
        never_silently_wrong(story_of(*PLACES[BLINDED[part]]))


ABSENT = {
    "a key": (dict, lambda b: b.get("scale", 2.0), at("scale"), "what is new in box"),
    "a key among others": (
        lambda: defaultdict(float, a=1.0),
        lambda b: b.get("scale", 2.0),
        at("scale"),
        "what is new in box",
    ),
    "a slot": (Slotted, lambda b: getattr(b, "unset", 2.0), attribute("unset"), "box.unset was not there"),
    "an attribute": (Called, lambda b: getattr(b, "unset", 2.0), attribute("unset"), "how many attributes box has"),
    "an attribute of a class": (
        lambda: Heir,
        lambda b: vars(b).get("unset", 2.0),
        lambda b, v: setattr(b, "unset", v) if v == 3 else delattr(b, "unset"),
        "what is new in box",
    ),
    "an element": (
        lambda: {"a"},
        lambda b: 3.0 if "b" in b else 2.0,
        lambda b, v: b.add("b") if v == 3 else b.discard("b"),
        "box was {'a'} when the step was recorded, and is {'a', 'b'} now",
    ),
}


@pytest.mark.parametrize("what", ABSENT)
def test_what_was_not_there_when_the_step_was_recorded_is_noticed(what):
    make, read, put, said = ABSENT[what]
    try:
        assert never_silently_wrong(story_of(make, read, put)).startswith(said)
    finally:
        if "unset" in vars(Heir):
            del Heir.unset


@pytest.mark.parametrize("which, said", [("array", r"array was array\("), ("kind", "kind is another type")])
def test_an_array_or_a_class_that_another_takes_the_place_of_is_noticed(which, said):
    def story(jit):
        array, kind = np.ones(3, np.float32), Base
        step = jit(lambda x: x * array * kind.inherited)
        yield from calls(step)
        if which == "array":
            array = np.full(3, 5, np.float32)
        else:
            kind = type("Other", (), {"inherited": 5.0})
        yield step(numbers(3))

    refused(story, said)


# ---------------------------------------------------------------- what may change


class Numbered:
    def __init__(self):
        self.number = len(numbered)
        numbered.append(self.number)

    def __call__(self):
        return 2.0


numbered = []


def kept(b):
    return b.setdefault("ones", tg.ones(3))


def logged(b):
    logging.getLogger("tinygrad_ft.test").info("a step")
    return 2.0


# what the step has, what it does with it, and what happens between calls
INNOCENT = {
    "what is kept for later calls": (dict, kept, lambda b: b.__setitem__(len(b), tg.ones(3))),
    "a log": (dict, logged, lambda b: logging.getLogger("tinygrad_ft.other").info("outside")),
    "what a path keeps for itself": (
        lambda: [pathlib.Path("a/b")],
        lambda b: len(b) * 2.0,
        lambda b: (str(b[0]), b[0].parts),
    ),
    "what is counted where objects are made": (Numbered, call, lambda b: Numbered()),
    "how an object is shown": (Around, lambda b: b[0], repr),
}


@pytest.mark.parametrize("what", INNOCENT)
def test_what_has_no_effect_may_change(what):
    make, use, change = INNOCENT[what]

    def story(jit):
        box = make()
        step = jit(lambda x: x * use(box))
        for i in range(6):
            yield step(numbers(3, seed=i))
            change(box)

    same_as_eager(story)


def test_an_equal_set_in_the_place_of_another_is_the_same():
    def story(jit):
        tags = {1, 2}
        step = jit(lambda x: x * len(tags))
        for i in range(6):
            yield step(numbers(3, seed=i))
            tags = {2, 1}

    same_as_eager(story)


def test_a_variable_that_has_no_value_yet_is_no_obstacle():
    def story(jit):
        step = jit(lambda x: x * 2 if x.ndim else late)
        yield from calls(step)
        late = tg.ones(1)

    same_as_eager(story)
