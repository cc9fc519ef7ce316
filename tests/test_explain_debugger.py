"""The debugger moves both ways through the backward pass, in a terminal and as HTML that needs nothing else."""

import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest

import tinygrad_ft as tg


def example():
    x = tg.tensor([1.0, -2.0], requires_grad=True)
    h = (x * x).tanh()
    loss = (h * x + h).sum()
    return loss, x, h


def test_stepping_to_the_end_leaves_every_gradient():
    loss, x, _ = example()
    debugger = tg.explain(loss).debugger()
    loss.backward()  # what was explained stays explained
    while not debugger.done:
        debugger.step()
    assert np.array_equal(debugger.cotangents[debugger.names.find(x)], x.grad.array)
    assert debugger.arrivals == debugger.expected
    assert "done: all" in repr(debugger.step())


def test_back_undoes_what_step_did():
    debugger = tg.explain(example()[0]).debugger()
    seen = []
    while not debugger.done:
        seen.append(repr(debugger))
        debugger.step()
    for view in reversed(seen):
        assert repr(debugger.back()) == view
    assert debugger.back(5).position == 0
    assert len(set(seen)) == len(seen)  # each step shows something


def test_run_to_stops_before_the_op_or_the_node():
    loss, x, h = example()
    assert x.is_leaf
    assert not h.is_leaf
    debugger = tg.explain(loss).debugger()
    assert "next h = tanh" in repr(debugger.run_to("tanh"))
    assert "2 of 2" in repr(debugger)  # both users of h have handed on
    assert debugger.run_to("x").next.number == debugger.names.find("x")
    position = debugger.position
    with pytest.raises(ValueError, match="no op of that name is still to come"):
        debugger.run_to("tanh")
    assert debugger.position == position


def test_a_cotangent_that_still_lacks_an_arrival_is_shown_so():
    debugger = tg.explain(example()[0]).debugger().step(2)
    assert "1 of 2" in repr(debugger)


def state_of(html):
    return json.loads(re.search(r",state=(\{.*?\}),at=", html).group(1))


def test_the_widget_holds_the_whole_pass_and_needs_no_network():
    loss, x, _ = example()
    debugger = tg.explain(loss).debugger().step(2)
    html = debugger._repr_html_()
    state = state_of(html)
    assert state["start"] == debugger.position == 2
    assert [s["n"] for s in state["steps"]] == [s.number for s in debugger.steps]
    assert not re.search(r"(src|href)=|import\(|fetch|https?://(?!www\.w3\.org/2000/svg)", html)
    last = {n: text for s in state["steps"] for n, text, _ in s["to"]}
    loss.backward()
    assert last[debugger.names.find(x)] == f"[{', '.join(f'{float(g):.4g}' for g in x.grad.array)}]"


def test_a_page_that_strips_scripts_shows_the_text_and_what_to_do():
    debugger = tg.explain(example()[0]).debugger().step()
    html = re.sub(r"<script>.*?</script>", "", debugger._repr_html_(), flags=re.S)
    assert debugger.heading() in unescape(html)
    assert "Run this cell" in html
    assert "<svg" not in html
    assert "<button" not in html


def test_the_widgets_picture_does_not_tell_gradients_before_they_arrive():
    page = state_of(tg.explain(example()[0]).debugger()._repr_html_())["page"]
    assert "value" in page
    assert "grad " not in page


def test_two_widgets_of_one_page_do_not_share_names():
    debugger = tg.explain(example()[0]).debugger()
    first, second = (set(re.findall(r'id="([^"]+)"', debugger._repr_html_())) for _ in range(2))
    assert first
    assert not first & second


def test_no_name_can_end_the_widgets_script():
    given = {"</script><b>ID": tg.ones(2).requires_grad_()}
    html = tg.explain((given["</script><b>ID"] * 2.0).sum()).debugger()._repr_html_()
    assert html.count("</script>") == 1
    assert "given['</script><b>ID']" in state_of(html)["names"]


def test_a_long_pass_falls_back_to_text():
    x = tg.ones(1).requires_grad_()
    y = x
    for _ in range(700):
        y = y * 1.0
    debugger = tg.explain(y.sum()).debugger().step(500)
    assert debugger._repr_html_().startswith("<pre>")
    assert "more nodes not shown" in repr(debugger)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, to read the script")
def test_the_widgets_script_is_a_script(tmp_path):
    html = tg.explain(example()[0]).debugger()._repr_html_()
    (tmp_path / "widget.js").write_text(re.search(r"<script>(.*)</script>", html, re.S).group(1))
    subprocess.run(["node", "--check", str(tmp_path / "widget.js")], check=True)
