"""The debugger as a piece of HTML with its own script: no network, no extension, nothing left to load.

JupyterLab strips scripts from a notebook that its reader neither ran nor trusts. So the script brings the page with it:
what stands there until it runs is the text of the debugger.
"""

from __future__ import annotations

import json
from collections import Counter
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

from tinygrad_ft.explain.derivation import rule_of
from tinygrad_ft.explain.graph import drawing
from tinygrad_ft.explain.svg import svg
from tinygrad_ft.explain.table import shown

if TYPE_CHECKING:
    from tinygrad_ft.explain.debugger import Debugger

MOST = 600  # steps that the widget can walk; a terminal walks more
_new = count().__next__

# `state` holds every step; a position k shows the cotangents that the first k steps have left
SCRIPT = """
(function(){
const root=document.getElementById("ID"),state=STATE,at=q=>root.querySelector(q);
let k=state.start;
root.innerHTML=state.page;
function draw(){
 const have=new Map([[state.seed[0],[state.seed[1],0]]]);
 for(let i=0;i<k;i++)for(const[n,text,arrived]of state.steps[i].to)have.set(n,[text,arrived]);
 const passed=new Set(state.steps.slice(0,k).map(s=>s.n)),now=k<state.steps.length?state.steps[k]:null;
 const all=state.steps.length,title="step "+(k+1)+" of "+all+", next: ";
 at(".where").textContent=now?title+now.made:"done: all "+all+" nodes had their turn";
 at(".rule").textContent=now?now.rule:"";
 const body=at("tbody");body.replaceChildren();
 for(const[n,[text,arrived]]of[...have].sort((a,b)=>b[0]-a[0])){
  const row=body.insertRow();
  const mark=now&&n===now.n?"\\u25b6":passed.has(n)?"\\u2713":"";
  const part=state.expected[n]?arrived+" of "+state.expected[n]:"seed";
  for(const cell of[mark,state.names[n],text,part]){
   const td=row.insertCell();td.textContent=cell;td.style.cssText="padding:2px 10px;text-align:left;white-space:pre";}
  if(now&&n===now.n)row.style.fontWeight="bold";
 }
 state.box.forEach((b,n)=>{const r=at("#IDn"+b+" rect");if(r)r.style.strokeWidth="";});
 root.querySelectorAll(".box").forEach(b=>b.style.opacity=.4);
 for(const n of have.keys()){const b=at("#IDn"+state.box[n]);if(b)b.style.opacity=1;}
 if(now){const r=at("#IDn"+state.box[now.n]+" rect");if(r)r.style.strokeWidth="5";}
 at("input").value=k;
}
function go(to){k=Math.max(0,Math.min(state.steps.length,to));draw();}
at(".first").onclick=()=>go(0);at(".back").onclick=()=>go(k-1);
at(".step").onclick=()=>go(k+1);at(".last").onclick=()=>go(state.steps.length);
at("input").oninput=e=>go(+e.target.value);
at("select").onchange=e=>{const op=e.target.value;if(op){
 const i=state.steps.findIndex((s,j)=>j>k&&s.op===op);if(i>=0)go(i);e.target.value="";}};
draw();
})();
"""
BUTTON = (
    "font:inherit;color:inherit;background:transparent;border:1px solid currentColor;border-radius:4px;padding:2px 10px"
)


def widget(debugger: Debugger) -> str:
    """HTML of a debugger, standing where it stands; of a pass of more than 600 steps only the text.

    Every text is escaped, and so is what the script holds.
    """
    if len(debugger.steps) > MOST:
        return f"<pre>{escape(repr(debugger))}</pre>"
    name = f"tgdebug{_new()}"
    drawn = drawing(debugger.recorded, debugger.names, {}, fold=None)  # gradients are the walk's to show
    box = drawn.box_of()
    names, ops = debugger.names, dict[str, None]()
    steps: list[dict[str, Any]] = []
    # cotangents as they stand after each step, without moving the debugger of whoever is looking
    cotangents: dict[int, Any] = {}
    arrivals: Counter[int] = Counter()
    for step in debugger.steps:
        node, made = debugger.recorded.nodes[step.number], names.call(step.number)
        op = node.op.name if node.op is not None else "leaf"
        ops[op] = None
        changed = {}
        for edge in step.edges:
            debugger.recorded.arrive(cotangents, edge)
            arrivals[edge.parent] += 1
            changed[edge.parent] = [edge.parent, shown(cotangents[edge.parent]), arrivals[edge.parent]]
        label = f"{names[step.number]} = {made}" if made else names[step.number]
        steps.append({"n": step.number, "op": op, "made": label, "rule": rule_of(node), "to": list(changed.values())})
    buttons = "".join(
        f'<button class="{kind}" style="{BUTTON}">{text}</button> '
        for kind, text in (("first", "start"), ("back", "back"), ("step", "step"), ("last", "end"))
    )
    choices = "".join(f'<option value="{escape(op)}">{escape(op)}</option>' for op in ops)
    page = (
        f'{buttons}<input type="range" min="0" max="{len(steps)}" aria-label="step" style="vertical-align:middle"> '
        f'<select aria-label="run to" style="{BUTTON}"><option value="">run to ...</option>{choices}</select>'
        '<div class="where" style="margin-top:6px;font-weight:bold"></div>'
        '<div class="rule" style="min-height:1.4em"></div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:16px"><div style="overflow:auto;max-height:560px">'
        f"{svg(drawn, prefix=name + 'n')}</div>"
        '<div style="overflow:auto;max-height:560px"><table style="border-collapse:collapse;color:inherit"><thead><tr>'
        + "".join(f'<th style="text-align:left;padding:2px 10px">{t}</th>' for t in ("", "node", "so far", "arrivals"))
        + "</tr></thead><tbody></tbody></table></div></div>"
    )
    state = {
        "page": page,
        "start": debugger.position,
        "seed": [len(debugger.recorded) - 1, shown(debugger.explanation.seed)],
        "steps": steps,
        "names": names.given,
        "expected": [debugger.expected[i] for i in range(len(names))],
        "box": [box[i] for i in range(len(names))],
    }
    script = SCRIPT.replace("STATE", _json(state)).replace("ID", name)
    return (
        f'<div id="{name}" style="color:inherit;font-family:ui-monospace,monospace;font-size:12px">'
        f"<pre>{escape(repr(debugger))}</pre><p>Run this cell, and buttons step through the pass.</p></div>"
        f"<script>{script}</script>"
    )


def _json(state: Any) -> str:
    """JSON that may stand in a script of a page: no text in it can end the script, or stand for ours."""
    text = json.dumps(state).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text.replace("ID", "\\u0049D")
