"""The benchmarks: who agrees is timed, who does not is refused, what was found is kept, and bad words are told so."""

import json
import os
import time
from contextlib import nullcontext
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from bench_toys import ending, environment, hungry, lacking, raising, sleeping

from benchmarks.harness import Work, fingerprint, quiet
from benchmarks.harness import compare as comparison
from benchmarks.harness import run as runner
from benchmarks.harness.contender import EAGER, JIT, PEERS
from tinygrad_ft.cli import bench, main

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
SETTINGS = {"rounds": 2, "seconds": 0.02, "patience": 0.0}

TOYS = {
    EAGER: partial(sleeping, 0.002),
    "slow": partial(sleeping, 0.010),
    "wrong": partial(sleeping, 0.001, 2.001),
    "close": partial(sleeping, 0.001, 2.00001),
    "hungry": hungry,
    "raising": partial(ending, raising),
    "dying": partial(ending, partial(os._exit, 3)),
    "broken": raising,
    JIT: lacking,
    "theirs": partial(sleeping, 0.002),
}
TOY = Work("toy", "two toys", TOYS, {EAGER: 2.5, "slow": 2.5}, baseline="theirs")


@pytest.fixture(autouse=True)
def no_long_look(monkeypatch):
    monkeypatch.setattr(quiet, "WINDOW", 0.01)


@pytest.fixture(scope="module")
def outcomes():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(quiet, "WINDOW", 0.01)
        result = comparison.compare(TOY, list(TOYS), **SETTINGS)
    return {outcome.name: outcome for outcome in result.outcomes}


def test_contenders_that_agree_are_timed_in_every_round(outcomes):
    for name in (EAGER, "close", "theirs"):
        assert outcomes[name].status == "measured"
        assert len(outcomes[name].seconds) == len(outcomes[name].ratios) == 2
    assert outcomes["theirs"].ratios == [1.0, 1.0]
    assert outcomes[EAGER].seconds[0] > 0.002


def test_the_slower_one_has_the_larger_ratio_and_misses_its_target(outcomes):
    assert outcomes["slow"].ratio > 2.5 > outcomes[EAGER].ratio
    assert (outcomes[EAGER].met, outcomes["slow"].met, outcomes["close"].met) == (True, False, None)


def test_one_that_computes_something_else_is_refused_with_both_numbers_and_never_timed(outcomes):
    wrong = outcomes["wrong"]
    assert (wrong.status, wrong.seconds) == ("refused", [])
    assert "2.001" in wrong.why
    assert "theirs 2, 2, 2" in wrong.why


def test_one_that_cannot_start_or_goes_on_the_way_is_told_and_the_others_go_on(outcomes):
    assert (outcomes[JIT].status, outcomes[JIT].why) == ("not available", "no such thing yet")
    assert (outcomes["broken"].status, outcomes["broken"].why) == ("failed", "RuntimeError: two lines")
    assert (outcomes["raising"].status, outcomes["raising"].why) == ("failed", "RuntimeError: two lines")
    assert (outcomes["dying"].status, outcomes["dying"].why) == ("failed", "its process ended with code 3")
    assert outcomes["raising"].ratios == outcomes["dying"].ratios == []


def test_the_peak_is_what_the_steps_take_and_not_what_the_process_had(outcomes):
    assert 70 * MEGABYTE < outcomes["hungry"].peak_bytes < 120 * MEGABYTE
    assert outcomes["theirs"].peak_bytes < 30 * MEGABYTE


def test_a_peer_that_is_not_installed_is_named_and_skipped(monkeypatch):
    monkeypatch.setattr(comparison, "find_spec", lambda name: None)
    work = TOY._replace(contenders={"jax": raising, "theirs": TOYS["theirs"]})
    peer, _ = comparison.compare(work, ["jax"], **SETTINGS).outcomes
    assert (peer.status, peer.why) == ("not installed", "pip install jax")


def test_without_its_baseline_a_work_is_an_error():
    work = TOY._replace(contenders={"theirs": raising})
    with pytest.raises(RuntimeError, match="toy: the baseline theirs is failed: RuntimeError: two lines"):
        comparison.compare(work, [], **SETTINGS)


def test_a_contender_finds_no_variable_that_chooses_its_blas_kernel_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    contender = comparison._Contender(environment, 1)
    status, (swayed, processors) = contender.answer()
    contender.end()
    assert (status, swayed) == ("ready", 0)
    assert processors <= 2
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"
    monkeypatch.setattr(comparison, "same_for_all", nullcontext)
    contender = comparison._Contender(environment, 1)
    assert contender.answer()[1][0] == 1  # so the number can tell
    contender.end()


# --- what is compared, and when -------------------------------------------------------------------------------------


def test_a_fingerprint_sees_a_size_a_sign_and_a_place():
    x = np.random.default_rng(0).standard_normal(1000)
    same = x.astype(np.float32)
    size, sign, place = 1.001 * x, x.copy(), x.copy()
    sign[3] *= -1
    place[[1, 900]] = place[[900, 1]]
    assert comparison._agree(fingerprint(same), fingerprint(x), 1e-5)
    for other in (size, sign, place, np.full(1000, np.nan)):
        assert not comparison._agree(fingerprint(other), fingerprint(x), 1e-5)
    assert not comparison._agree(fingerprint(x, x), fingerprint(x), 1e-5)


def patience_of(seconds, monkeypatch, loads):
    """What a burst answers when others use `loads` in turn, with the patience afterwards."""
    monkeypatch.setattr(quiet.Watch, "others", lambda self: 0.0)
    patience, loads = quiet.Patience(seconds), iter(loads)
    return patience.burst(lambda: (time.sleep(0.02), next(loads))), patience


def test_a_burst_among_other_processes_is_taken_again_until_it_is_quiet(monkeypatch):
    (_, others), patience = patience_of(10.0, monkeypatch, [0.5, 0.2, 0.1])
    assert (others, patience.discarded) == (0.1, 2)
    assert 9.0 < patience.left < 9.96


def test_when_patience_is_at_an_end_a_burst_counts_as_it_is(monkeypatch):
    (_, others), patience = patience_of(0.05, monkeypatch, [0.5] * 10)
    assert others == 0.5
    assert 1 <= patience.discarded <= 2
    (_, others), patience = patience_of(0.0, monkeypatch, [0.5])
    assert (others, patience.discarded) == (0.5, 0)


def test_where_the_system_does_not_tell_every_burst_counts(monkeypatch):
    monkeypatch.setattr(quiet, "busy_seconds", lambda: None)
    patience = quiet.Patience(10.0)
    assert patience.burst(lambda: (1.0, quiet.Watch().others())) == (1.0, None)
    assert (patience.left, patience.discarded) == (10.0, 0)


def test_what_others_use_is_what_all_cores_did_without_this_process(monkeypatch):
    clock = {"wall": 0.0, "own": 0.0, "all": 5.0}
    monkeypatch.setattr(quiet, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(quiet, "process_time", lambda: clock["own"])
    monkeypatch.setattr(quiet, "busy_seconds", lambda: clock["all"])
    watch = quiet.Watch()
    clock |= {"wall": 10.0, "own": 9.0, "all": 5.0 + 9.0 + 4.0}
    assert watch.others() == pytest.approx(0.4, abs=0.01)
    clock["all"] = 5.0 + 8.9
    assert watch.others() == 0.0


# --- what is kept ---------------------------------------------------------------------------------------------------


def kept(folder):
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text(encoding="utf-8")), file.with_suffix(".png").read_bytes()


def test_a_run_prints_a_table_and_keeps_every_round_and_a_picture(tmp_path, capsys):
    from matplotlib.image import imread

    again = TOY._replace(name="toy.again", contenders={"theirs": TOYS["theirs"]})
    code = runner.run([TOY, again], [EAGER, JIT, "slow"], out=tmp_path / "new" / "folder", **SETTINGS)
    out = capsys.readouterr().out
    assert code == 0
    assert "toy: two toys" in out
    assert "target 2.5 met" in out  # with or without doubt
    assert "target 2.5 MISSED" in out
    assert "not available: no such thing yet" in out
    content, picture = kept(tmp_path / "new" / "folder")
    assert [work["name"] for work in content["works"]] == ["toy", "toy.again"]
    rows = {row["name"]: row for row in content["works"][0]["contenders"]}
    assert list(rows) == [EAGER, "slow", JIT, "theirs"]
    assert rows[EAGER]["met"] is True
    assert len(rows[EAGER]["ratios"]) == len(rows[EAGER]["seconds"]) == content["settings"]["rounds"] == 2
    low, high = rows["slow"]["ratio_quartiles"]
    assert low <= rows["slow"]["ratio"] <= high
    assert (rows[JIT]["status"], rows[JIT]["why"]) == ("not available", "no such thing yet")
    assert content["machine"]["versions"]["numpy"] == np.__version__
    assert imread(BytesIO(picture)).ndim == 3
    assert len({path.suffix for path in (tmp_path / "new" / "folder").iterdir()}) == 2


def test_the_weather_is_told_as_it_was():
    from benchmarks.harness.report import table

    def said(*loads):
        outcome = comparison.Outcome("ours", 2.0, seconds=[1.0], ratios=[1.0], others=list(loads))
        return table(comparison.Result(TOY, [outcome])).splitlines()[1:]

    row, weather = said(0.12, 0.0)
    assert "target 2 met " in row
    assert "quiet: other processes used 0.12 of a core at most" in weather
    row, weather = said(0.5, 0.1)
    assert "target 2 met? " in row
    assert "NOT QUIET: in 1 of 2 bursts other processes used 0.50 of a core" in weather
    row, weather = said()
    assert "target 2 met " in row
    assert "unknown" in weather


def test_a_contender_of_ours_that_is_refused_makes_the_run_fail(tmp_path):
    work = TOY._replace(contenders={EAGER: TOYS["wrong"], "theirs": TOYS["theirs"]})
    assert runner.run([work], [EAGER], out=tmp_path, **SETTINGS) == 1
    content, _ = kept(tmp_path)
    assert content["works"][0]["contenders"][0]["status"] == "refused"


# --- the command ----------------------------------------------------------------------------------------------------

BAR = {
    "overhead.one": (0.5, 0.06), "overhead.million": (0.8, 0.3), "overhead.chain": (0.5, None),
    "mlp.sgd": (0.8, 0.5), "mlp.adam": (0.9, 0.5), "moons": (0.6, 0.05),
    "gpt.nano": (1.0, 0.4), "gpt.six": (1.0, 0.65), "text_cnn": (0.8, 0.15),
    "ops.softmax_small": (0.9, None), "ops.layer_norm_small": (0.9, None), "ops.gelu_small": (0.9, None),
    "ops.softmax_large": (1.0, None), "ops.layer_norm_large": (1.0, None), "ops.gelu_large": (1.0, None),
    "ops.attention_small": (0.6, None), "ops.attention_large": (0.6, None), "ops.cross_entropy_large": (0.3, None),
}  # fmt: skip


def test_every_benchmark_is_found_by_name_with_our_contenders_and_the_targets_of_the_bar():
    works = runner.works_named([])
    assert {work.name: (work.targets.get(EAGER), work.targets.get(JIT)) for work in works} == BAR
    for work in works:
        assert {EAGER, JIT, work.baseline} <= set(work.contenders) <= {EAGER, JIT, *PEERS}
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__"}
    assert files == set(runner.NAMES)
    assert [work.name for work in runner.works_named(["gpt.six", "moons"])] == ["moons", "gpt.six"]
    assert [work.name for work in runner.works_named(["gpt"])] == ["gpt.nano", "gpt.six"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mpl"], "no such benchmark: mpl; there are overhead, mlp,"),
        (["gpt.seven"], "no such benchmark: gpt.seven"),
        (["--against", "torch,jaxx"], "no such peer: jaxx; there are torch, jax,"),
        (["--rounds", "0"], "bench needs --rounds >= 1"),
        (["--seconds", "nan"], "--seconds > 0"),
        (["--patience", "-1"], "--patience >= 0"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, said, capsys, tmp_path):
    assert main(["bench", *words, "--out", str(tmp_path / "none")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("tinygrad-ft: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_without_pytorch_or_a_checkout_one_line_says_what_to_do(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert main(["bench", "moons"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install -e '.[reference]'" in err
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    assert main(["bench", "moons"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "only a checkout has" in err


@pytest.mark.reference
def test_the_smallest_benchmark_runs_from_the_command_line(capsys, tmp_path):
    words = ["moons", "--eager", "--rounds", "1", "--seconds", "0.02", "--patience", "0", "--out", str(tmp_path)]
    assert main(["bench", *words]) == 0
    content, _ = kept(tmp_path)
    ours, torch = content["works"][0]["contenders"]
    assert (ours["status"], torch["status"]) == ("measured", "measured")
    assert any(line.startswith("openblas") for line in ours["libraries"])
    assert any(line.startswith("torch") and line.endswith(" 2 threads") for line in torch["libraries"])
