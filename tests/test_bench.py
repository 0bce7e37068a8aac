"""The benchmark command: what it writes and shows, and what it calls a change."""

import copy
import functools
import gc
import html
import html.parser
import importlib.util
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

import numpy as np
import pytest

import relu_xp
from relu_xp import __main__, _peers, _survey
from relu_xp._functions import FUNCTIONS, LEAKY_RELU, RELU

pytest.importorskip("rich", reason="rich: not installed")

from rich.console import Console

from relu_xp.bench import _benchmarks, _comparing, _measuring, _summary

QUICK = ["bench", "--backend", "numpy", "--sizes", "1000,2**12", "--seconds", "0"]
DRAWS = all(importlib.util.find_spec(package) for package in ("jinja2", "matplotlib"))
needs_matplotlib = pytest.mark.skipif(not DRAWS, reason="jinja2 or matplotlib: not installed")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A small run's files."""
    folder = tmp_path_factory.mktemp("bench")
    page = ["--report", str(folder / "report.html")] if DRAWS else []
    functions = ["--function", "relu", "leaky_relu_vjp"]
    assert __main__.main([*QUICK, *functions, "--json", str(folder / "new.json"), *page]) == 0
    return folder


@pytest.fixture(scope="module")
def record(results):
    return json.loads((results / "new.json").read_text())


def test_the_record_has_the_machine_and_every_sample(record):
    about = record["about"]
    assert about["cores"] >= 1
    assert about["versions"]["numpy"] == np.__version__
    assert {"cpu", "caches", "gpus", "workers", "huge_pages", "date"} <= set(about)
    assert not record["interrupted"]
    parts = {c["part"] for c in record["benchmarks"]}
    assert parts == {
        "overhead",
        "kernels",
        "training",
    }  # the others' arrays are larger than asked for
    for benchmark in record["benchmarks"]:
        kinds = [each["kind"] for each in benchmark["entries"]]
        assert kinds.count("limit") == 1, benchmark
        assert "ours" in kinds
        for each in benchmark["entries"]:
            assert each["first"] > 0
            assert len(each["seconds"]) >= 3
            assert min(each["seconds"]) > 0


def test_fresh_and_out_are_told_apart(record):
    modes = {c["mode"] for c in _summary.select(record, "kernels", function="relu")}
    assert modes == {"fresh", "out="}


class Fetches(html.parser.HTMLParser):
    """Collects what a browser would fetch, and the figures."""

    def __init__(self):
        super().__init__()
        self.fetched, self.figures, self.open = [], [], []

    def handle_starttag(self, tag, attributes):  # noqa: D102
        named = dict(attributes)
        self.fetched += [
            v
            for k, v in named.items()
            if k in ("src", "href", "xlink:href") and not v.startswith("#")
        ]
        self.fetched += [tag] * (tag in ("script", "link", "iframe", "img", "object"))
        if tag == "figure":
            self.figures.append(named["id"])


@needs_matplotlib
def test_the_page_needs_nothing_else_and_has_every_plot(results):
    text = (results / "report.html").read_text()
    page = Fetches()
    page.feed(text)
    assert page.fetched == []
    assert not re.search(r"url\((?!#)|@import", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    wanted = {
        "throughput-cpu-relu-float32",
        "throughput-cpu-leaky_relu_vjp-float32",
        "overhead-cpu",
        "speedup-float32",
        "growth-cpu",
        "training-digits-training-step",
        "training-wide-MLP-inference",
    }
    assert wanted <= set(page.figures)
    assert text.count("<svg") == len(page.figures)
    assert "#010203" not in text  # its place is the page's own colour


@needs_matplotlib
def test_a_plot_stands_alone_in_a_file(record):
    from relu_xp.bench import _plots

    growth = next(plot for plot in _plots.plots(record) if plot.name == "growth-cpu")
    svg = _plots.stand_alone(growth.svg, growth.title)
    assert svg.startswith("<svg xmlns")
    assert f"<title>{growth.title}</title>" in svg
    assert "prefers-color-scheme" in svg


def test_a_run_compared_with_itself_marks_nothing(record):
    comparison = _comparing.compare(record, record)
    assert len(comparison.changes) > 20
    assert comparison.marked == []
    assert "0 of" in comparison.answer()


def synthetic(seed, slowed=(), factor=1.0, drift=1.0):
    """A record of samples with one part in twenty of noise."""
    rng = np.random.default_rng(seed)
    benchmarks = []
    for function in ("relu", "leaky_relu", "relu_vjp"):
        for size in (1 << k for k in range(10, 24, 2)):
            entries = []
            for name, kind, cost in (
                ("copy", "limit", 1.0),
                ("relu_xp, numpy", "ours", 1.3),
                ("np.where", "idiom", 9.0),
            ):
                slower = factor if (function, name) in slowed else 1.0
                seconds = cost * size * 1e-9 * slower * drift * np.exp(rng.normal(0, 0.05, 30))
                entries.append(
                    {"name": name, "kind": kind, "first": 1.0, "seconds": seconds.tolist()}
                )
            benchmark = {
                "part": "kernels",
                "device": "cpu",
                "function": function,
                "dtype": "float32",
                "size": size,
            }
            benchmarks.append(
                {**benchmark, "mode": "fresh", "task": "", "bytes": 8 * size, "entries": entries}
            )
    return {"relu_xp_bench": 3, "about": ABOUT, "interrupted": False, "benchmarks": benchmarks}


ABOUT = {"date": "2026-11-28", "load": 0.1, "versions": {}}


@pytest.mark.parametrize(
    ("module", "name"), [("elsewhere", "boxes"), ("relu_xp._backends.array_api", "mlx")]
)
def test_what_is_lazy_is_waited_for(module, name):
    fetched = []
    backend = types.ModuleType(module)
    backend.get = fetched.append
    target = _survey.Target(name, backend, "cpu")
    (candidate,) = _benchmarks._timed(target, np.ones(3), "ours", {"relu_xp": lambda: "a promise"})
    candidate.call()
    assert fetched == ["a promise"]


def test_noise_and_drift_are_no_change():
    for seed in range(20):
        assert _comparing.compare(synthetic(seed), synthetic(seed + 100, drift=1.7)).marked == []


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_what_is_slowed_or_sped_up_is_marked_and_nothing_else(factor):
    slowed = [("leaky_relu", "relu_xp, numpy")]
    comparison = _comparing.compare(synthetic(1), synthetic(2, slowed, factor))
    assert {(change.what, change.name) for change in comparison.marked} == {
        ("leaky_relu, float32, below 2**16, fresh", "relu_xp, numpy"),
        ("leaky_relu, float32, from 2**16, fresh", "relu_xp, numpy"),
    }
    assert all(abs(change.ratio / factor - 1) < 0.05 for change in comparison.marked)
    told = (
        "2 of 12 lines became slower and 0 faster"
        if factor > 1
        else "0 of 12 lines became slower and 2 faster"
    )
    assert comparison.answer() == f"Since 2026-11-28, {told}; up to 10% counts as chance."


def test_one_size_alone_is_no_change():
    new = synthetic(2)
    each = new["benchmarks"][3]["entries"][1]
    each["seconds"] = [1.5 * value for value in each["seconds"]]
    assert _comparing.compare(synthetic(1), new).marked == []


def test_where_the_copy_itself_was_disturbed_nothing_is_marked():
    new = synthetic(2)
    copied = new["benchmarks"][3]["entries"][0]
    copied["seconds"] = [4 * value for value in copied["seconds"]]
    assert _comparing.compare(synthetic(1), new).marked == []


def test_two_runs_of_which_chance_explains_everything_are_not_compared():
    """A busy machine gives no list of changes, and no interval of thousands of per cent."""
    new, rng = synthetic(2), np.random.default_rng(0)
    for benchmark in new["benchmarks"]:
        for each in benchmark["entries"]:
            each["seconds"] = (rng.lognormal(0, 2) * np.array(each["seconds"])).tolist()
    new["about"] = {**ABOUT, "load": 7.5}
    comparison = _comparing.compare(synthetic(1), new)
    assert comparison.marked == []
    assert "can't be compared" in comparison.answer()
    assert comparison.answer().startswith("The machine was busy, with a load of 0.1 and 7.5: ")
    assert "%" not in comparison.answer()


def test_a_comparison_is_its_answer_and_at_most_a_screen():
    from relu_xp.bench import _report

    new = synthetic(
        2, [(name, "relu_xp, numpy") for name in ("relu", "leaky_relu", "relu_vjp")], 1.5
    )
    for benchmark in list(new["benchmarks"]):
        new["benchmarks"] += [
            {**benchmark, "dtype": dtype} for dtype in ("float16", "float64", "bfloat16")
        ]
    old = synthetic(1)
    for benchmark in list(old["benchmarks"]):
        old["benchmarks"] += [
            {**benchmark, "dtype": dtype} for dtype in ("float16", "float64", "bfloat16")
        ]
    console = Console(file=io.StringIO(), width=80)
    _report.show_changes(console, _comparing.compare(old, new))
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("Since 2026-11-28, 24 of 48 lines became slower and 0 faster")
    assert len(lines) <= 24
    assert lines[-1] == "And 12 smaller changes, which --report lists."


def test_a_kernel_slowed_on_purpose_is_marked(monkeypatch):
    """The slow kernel works twenty times, which no other load on the machine hides."""
    quick = functools.partial(
        _benchmarks.kernels, *_here(), (RELU,), ("float32",), (1 << 16, 1 << 18), ()
    )
    old = {"about": ABOUT, "benchmarks": [benchmark.hold(0.1) for benchmark in quick()]}
    right = relu_xp.relu
    monkeypatch.setattr(relu_xp, "relu", lambda x, **how: [right(x, **how) for _ in range(20)])
    new = {"about": ABOUT, "benchmarks": [benchmark.hold(0.1) for benchmark in quick()]}
    marked = _comparing.compare(old, new).marked
    assert {change.name for change in marked} >= {"relu_xp, numpy"}
    assert all(change.ratio > 1 for change in marked if change.name == "relu_xp, numpy")


def _here():
    from relu_xp import _survey
    from relu_xp._backends import numpy as backend

    return ([_survey.Target("numpy", backend, "cpu")],)


def test_compare_shows_and_returns(results, tmp_path, capsys):
    old = tmp_path / "old.json"
    new = tmp_path / "new.json"
    record = json.loads((results / "new.json").read_text())
    record["about"]["load"] = 0.1
    new.write_text(json.dumps(record))
    for benchmark in record["benchmarks"]:
        for each in benchmark["entries"]:
            if each["name"] == "relu_xp, numpy" and benchmark["part"] == "kernels":
                each["seconds"] = [value / 4 for value in each["seconds"]]
    old.write_text(json.dumps(record))
    assert __main__.main(["bench", "--compare", str(old), str(new)]) == 0
    said = capsys.readouterr().out
    assert re.match(
        r"Since .*, 4 of \d+ lines became slower and 0 faster; up", said
    )  # the answer comes first
    assert __main__.main(["bench", "--compare", str(old), str(old)]) == 0
    assert re.match(r"Since .*, 0 of \d+ lines became slower and 0 faster", capsys.readouterr().out)
    if DRAWS:
        page = tmp_path / "page.html"
        assert __main__.main(["bench", "--compare", str(old), str(new), "--report", str(page)]) == 0
        assert "slower" in page.read_text()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2**10:2**14", [1 << 10, 1 << 12, 1 << 14]),
        ("1:10", [1, 4, 10]),
        ("2**3:2**3", [8]),
        ("1000,2**4", [16, 1000]),
        ("7", [7]),
    ],
)
def test_sizes(text, wanted):
    assert __main__.sizes(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "x", "2**20:2**10", "0", "-3", "2**99", "1:2:3", "2**-1", "9**9**9", "1.5"]
)
def test_bad_sizes(text):
    with pytest.raises(ArgumentTypeError, match="not sizes"):
        __main__.sizes(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "many"], "not sizes: 'many'"),
        (["--backend", "nonesuch"], "nonesuch: no such backend"),
        (["--seconds", "-1"], "--seconds must be"),
        (["--json", "/nowhere/at/all.json"], "--json"),
        (["--compare", "/nowhere.json"], "/nowhere.json"),
        (["--function", "gelu"], "invalid choice"),
        (
            ["--compare", "a", "b", "--backend", "numpy"],
            "--compare of two files takes no --backend",
        ),
        (["--json", "same.json", "--report", "same.json"], "--report and --json must be two files"),
    ],
)
def test_bad_options_exit_2(options, message, capsys):
    try:
        status = __main__.main(["bench", *options])
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr()
    assert status == 2
    assert message in said.out + said.err


def test_a_file_is_made_only_when_there_is_something_in_it(tmp_path, capsys):
    assert (
        __main__.main(["bench", "--backend", "nonesuch", "--json", str(tmp_path / "new.json")]) == 2
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.json").write_text("kept")
    assert (
        __main__.main(["bench", "--backend", "nonesuch", "--json", str(tmp_path / "old.json")]) == 2
    )
    assert (tmp_path / "old.json").read_text() == "kept"


def test_a_dtype_that_cannot_be_named_is_missing(monkeypatch, capsys):
    monkeypatch.delitem(_benchmarks.DTYPES, "bfloat16", raising=False)
    assert __main__.main([*QUICK, "--dtype", "bfloat16"]) == 2
    assert "bfloat16: ml_dtypes is not installed" in capsys.readouterr().out


def test_a_terminal_that_knows_few_letters():
    command = [sys.executable, "-m", "relu_xp", *QUICK, "--function", "relu"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "a call" in run.stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{}", "is no record of relu-xp bench"),
        (b"[]", "is no record of relu-xp bench"),
        (b"not json", "is no record of relu-xp bench: Expecting value"),
        (b"[" * 100_000, "is no record of relu-xp bench: "),
        (b"\xff\x00", "is no record of relu-xp bench: "),
        (
            b'{"relu_xp_bench": 1, "about": {}, "benchmarks": []}',
            "is a record of format 1; this version reads 3",
        ),
    ],
    ids=range(6),
)
def test_what_is_no_record_is_refused_by_its_name(tmp_path, capsys, text, why):
    file = tmp_path / "old.json"
    file.write_bytes(text)
    assert __main__.main(["bench", "--compare", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"--compare: {file} {why}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", [".", "n" * 300, "nowhere.json"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["bench", "--compare", name]) == 2
    said = capsys.readouterr().err
    assert "--compare: [Errno" in said
    assert said.endswith(f"{name!r}\n")


def test_no_file_is_written_twice_or_over_what_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("old.json").write_text("kept")
    Path("link").symlink_to("old.json")
    for options, message in (
        (["--report", "a.html", "--json", "./a.html"], "--report and --json must be two files"),
        (["--report", "link", "--json", "old.json"], "--report and --json must be two files"),
        (["--report", "-", "--json", "-"], "--report and --json must be two files"),
        (
            ["--compare", "old.json", "--json", str(tmp_path / "old.json")],
            "--json would overwrite old.json",
        ),
        (["--compare", "old.json", "--report", "link"], "--report would overwrite old.json"),
    ):
        with pytest.raises(SystemExit) as stopped:
            __main__.main(["bench", *options])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert Path("old.json").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old.json"]


def test_the_missing_extra_is_named(monkeypatch, tmp_path, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert __main__.main(["bench", "--report", str(tmp_path / "report.html")]) == 2
    assert '".[bench]"' in capsys.readouterr().err


def test_interrupted_it_keeps_what_is_done(monkeypatch, tmp_path, capsys):
    hold, done = _benchmarks.Benchmark.hold, []

    def then_interrupted(benchmark, seconds):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(benchmark)
        return hold(benchmark, seconds)

    monkeypatch.setattr(_benchmarks.Benchmark, "hold", then_interrupted)
    file = tmp_path / "part.json"
    assert __main__.main([*QUICK, "--function", "relu", "--json", str(file)]) == 130
    assert "Interrupted" in capsys.readouterr().out
    record = json.loads(file.read_text())
    assert record["interrupted"]
    assert len(record["benchmarks"]) == 3
    if DRAWS:
        page = tmp_path / "part.html"
        assert (
            __main__.main(["bench", "--compare", str(file), str(file), "--report", str(page)]) == 0
        )
        assert "interrupted" in page.read_text()


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_control_c_in_a_process_of_its_own(tmp_path):
    file = tmp_path / "part.json"
    code = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job would not heed
runpy.run_module("relu_xp", run_name="__main__", alter_sys=True)
"""
    command = [
        sys.executable,
        "-u",
        "-c",
        code,
        *QUICK[:3],
        "--seconds",
        "600",
        "--json",
        str(file),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert any("at first" in line for line in process.stdout)  # it measures
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert json.loads(file.read_text())["interrupted"]


def test_candidates_take_turns_and_what_cannot_is_left_out():
    turns = []

    def fails():
        raise TypeError("no such dtype here\nand more")

    candidates = [
        _measuring.Candidate(name, "ours", functools.partial(turns.append, name)) for name in "ab"
    ]
    candidates.append(_measuring.Candidate("c", "peer", fails))
    entries, refused = _measuring.measure(candidates, 0.0)
    assert refused == {"c": "TypeError: no such dtype here"}
    assert {each["name"]: len(each["seconds"]) for each in entries} == {"a": 9, "b": 9}
    blocks = [name for name, _ in itertools.groupby(turns[6:])]
    assert blocks.count("a") > 1  # they take turns
    assert set(blocks) == {"a", "b"}


def test_calls_are_compared_in_as_many_rounds_as_asked_for():
    made = {"a": [], "b": []}

    def fails():
        raise TypeError

    calls = {name: functools.partial(list.append, told, 0) for name, told in made.items()}
    slow = functools.partial(time.sleep, 1e-3)
    found = _measuring.times({**calls, "slow": slow, "fails": fails}, 4, sample=0, typical=max)
    assert [*found] == ["a", "b", "slow"]
    # Three calls to try, and in each round one to warm up and one that is timed.
    assert {name: len(told) for name, told in made.items()} == {"a": 11, "b": 11}
    assert _measuring.ratio(slow, calls["a"], 3, sample=0) > 0
    assert np.isnan(_measuring.ratio(fails, calls["a"], 3, sample=0))


def test_the_garbage_collector_stays_as_it_was():
    states = []
    candidate = _measuring.Candidate("a", "ours", lambda: states.append(gc.isenabled()))
    assert gc.isenabled()
    _measuring.measure([candidate], 0.0)
    assert gc.isenabled()
    gc.disable()
    try:
        _measuring.measure([candidate], 0.0)
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert not states[-1]


def test_a_peer_computes_what_it_is_compared_for():
    x, g = _benchmarks.data("float32", 100)
    targets = [each for each in _survey.survey() if isinstance(each, _survey.Target)]
    for function in FUNCTIONS.values():
        scalars = function.named(function.defaults)
        want = getattr(relu_xp, function.name)(*(x, g)[: len(function.arrays)])
        out = np.empty_like(x)
        ours = (
            _peers.idioms(function, x, g, scalars),
            _peers.idioms_into(out, function, x, g, scalars),
        )
        for name, call in itertools.chain(*(calls.items() for calls in ours)):
            assert np.array_equal(call(), want), (function, name)
        cotangent = g if len(function.arrays) > 1 else np.ones_like(x)
        for target in targets:
            for library, peer in _peers.PEERS.get(target.name, {}).items():
                try:
                    calls = peer(function, target.put(x), target.put(cotangent), scalars)
                except ImportError:
                    continue
                for name, call in calls.items():
                    assert np.array_equal(np.asarray(target.get(call())), want), (
                        function,
                        library,
                        name,
                    )


def test_peers_take_part_where_their_backend_was_not_asked_for(capsys):
    pytest.importorskip("torch", reason="torch: not installed")
    target = _survey.choose(Console(), ["numpy"])
    torch = _survey.choose(Console(), ["torch"])
    benchmark = next(_benchmarks.kernels(target, (RELU,), ("float32",), (16,), torch))
    kinds = {each["name"]: each["kind"] for each in benchmark.hold(0.0)["entries"]}
    assert kinds["torch.nn.functional"] == "peer"
    assert "relu_xp, torch" not in kinds


def test_a_library_that_tracks_gradients_takes_part_or_says_why():
    pytest.importorskip("torch", reason="torch: not installed")
    from relu_xp.bench import _training

    benchmark = next(
        c for c in _training.steps((RELU,), ("torch",)) if c.task == "digits, training step"
    )
    result = benchmark.hold(0.0)
    took_part = {each["name"] for each in result["entries"]}
    assert "torch relu" in took_part
    assert ("relu_xp" in took_part) != ("relu_xp" in result["left_out"])


@pytest.mark.parametrize("library", ["numpy", "jax", "torch"])
@pytest.mark.parametrize("activation", [RELU, LEAKY_RELU], ids=str)
def test_networks_differ_in_the_rectifier_alone(library, activation):
    pytest.importorskip(library, reason=f"{library}: not installed")
    from relu_xp.bench import _training

    digits = [
        each
        for each in _training.steps((activation,), (library,))
        if each.task.startswith("digits")
    ]
    assert [each.task for each in digits] == ["digits, training step", "digits, inference"]
    for benchmark in digits:
        limit, ours, other = benchmark.make()[0]
        assert (limit.kind, ours.name, other.kind) == (
            "limit",
            "relu_xp",
            "idiom" if library == "numpy" else "peer",
        )
        limit.call()
        results = ours.call(), other.call()
        if benchmark.task == "digits, inference":
            assert np.array_equal(*map(np.asarray, results))


def test_several_workers():
    (benchmark,) = _benchmarks.workers(
        (LEAKY_RELU.vjp,), "float32", 2, min(_benchmarks.WORKER_SIZES)
    )
    record = benchmark.hold(0.0)
    assert not record["left_out"]
    assert all(seconds > 0 for each in record["entries"] for seconds in each["seconds"])
    assert [each["name"] for each in record["entries"]] == ["copy", "1 worker", "2 workers"]
    assert not _summary.is_split(record)  # nor does the library split it


def test_a_queue_is_waited_for_at_its_end():
    jnp = pytest.importorskip("jax.numpy", reason="jax: not installed")
    waited = []
    assert _measuring.Candidate("a", "ours", lambda: jnp.ones(3) + 1, waited.append).seconds(2) > 0
    assert len(waited) == 1


@needs_matplotlib
def test_what_was_recorded_still_makes_a_page():
    recorded = sorted((Path(__file__).parents[1] / "benchmarks/results").glob("*.json"))
    if not recorded:
        pytest.skip("benchmarks/results: not beside these tests")
    from relu_xp.bench import _page, _report

    record = json.loads(recorded[-1].read_text())
    comparison = _comparing.compare(record, record)
    assert comparison.changes
    assert comparison.marked == []
    page = _page.page(record, comparison)
    texts = ("Several threads", "digits, training step", "torch.nn.functional", "First calls")
    for text in (*texts, "Compared with an earlier run"):
        assert text in page
    for width in (60, 80):
        console = Console(file=io.StringIO(), width=width)
        _report.show(console, record)
        shown = console.file.getvalue()
        assert all(text in shown for text in texts if width == 80)
        assert "…" not in shown  # nothing is cut
        assert max(map(len, shown.splitlines())) <= width
        for table in _summary.tables(record, most=_report.SHOWN):
            cells = [cell for _, row in table.rows for cell in row]
            assert all(cell in shown for cell in cells if re.fullmatch("[0-9.]+( .?s)?", cell))


def only(record, *kinds):
    """The record with candidates of these kinds alone."""
    kept = copy.deepcopy(record)
    for benchmark in kept["benchmarks"]:
        benchmark["entries"] = [each for each in benchmark["entries"] if each["kind"] in kinds]
    return kept


@needs_matplotlib
def test_what_has_no_candidates_is_neither_drawn_nor_told(record):
    from relu_xp.bench import _page, _plots

    drawn = {plot.name.partition("-")[0] for plot in _plots.plots(only(record, "limit"))}
    assert drawn == {"throughput", "growth"}  # the copy's curves
    assert "<ul>" not in _page.page(only(record, "limit")).partition("<nav")[0]


def of_load(record, load):
    """The record, as of a machine with so much other work."""
    return {**record, "about": {**record["about"], "load": load, "cores": 2}}


def test_what_is_told_names_the_worst_beside_the_best(record):
    record = of_load(record, 0.5)
    copied, idioms, call = _summary.findings(record)
    share = r"\d+% \((relu|leaky_relu_vjp)\)"
    assert re.search(
        rf"^Speed compared with copying .*: {share} to {share}, on NumPy arrays of 2\*\*12", copied
    )
    gain = r"[\d.e+]+x \((relu|leaky_relu_vjp) against .*, (1,000|2\*\*12) elements\)"
    assert re.search(rf"^Speed compared with NumPy's idioms .*: {gain} to {gain}\.$", idioms)
    assert call.startswith("A call of relu on 16 elements takes ")
    assert _summary.findings(only(record, "ours")) == [call]


@needs_matplotlib
def test_of_a_busy_machine_nothing_is_concluded(record):
    from relu_xp.bench import _page, _report

    told = "The machine was busy (load 6.1 on 2 cores): do not trust these numbers."
    busy = of_load(record, 6.1)
    assert _summary.busy(busy) == told
    assert _summary.findings(busy) == []
    console = Console(file=io.StringIO(), width=100)
    _report.show(console, busy)
    first, *_ = (line for line in console.file.getvalue().splitlines() if "│" in line)
    assert told.upper() in first
    text = _page.page(busy)
    assert text.index(told) < text.index("<nav")
    assert _summary.busy(of_load(record, 1.0)) == _summary.busy(of_load(record, None)) == ""
    assert "was busy" not in _page.page(of_load(record, 1.0))


@needs_matplotlib
def test_a_page_begins_with_the_run_and_its_contents(record):
    from relu_xp.bench import _page

    text = _page.page(of_load(record, 0.5))
    head = text[: text.index("</nav>")]
    about = record["about"]
    assert about["date"] in head
    assert html.unescape(about["cpu"]) in html.unescape(head)
    assert "load 0.5 when the run began" in head
    links = re.findall('href="#([a-z]+)"', head)
    assert links[:2] == ["throughput", "overhead"]
    assert all(f'id="{link}"' in text for link in links)
    growth = text[text.index('id="growth-cpu"') :]
    assert growth.index("<figcaption>") < growth.index("<svg")  # the meaning before the numbers


@needs_matplotlib
def test_plots_show_where_relu_xp_is_slower_and_where_a_curve_falls():
    from relu_xp.bench import _plots

    record = synthetic(0)
    for benchmark in record["benchmarks"]:
        if benchmark["function"] == "leaky_relu":
            ours, idiom = benchmark["entries"][1:]
            ours["seconds"] = [20 * value for value in ours["seconds"]]
            if benchmark["size"] == 1 << 14:
                idiom["seconds"] = ours["seconds"]
    found = {plot.name: plot for plot in _plots.plots(record)}
    bars = found["speedup-float32"].svg
    assert bars.count(f"fill: {_plots.LESS}") == 1
    assert bars.count(f"fill: {_plots.MORE}") == 2
    every = [found[f"throughput-cpu-{name}-float32"] for name in ("relu", "leaky_relu")]
    assert [plot.note for plot in every] == ["", ""]
    assert {plot.group for plot in every} == {"float32 on cpu"}
    assert [*every[0].legend] == ["a copy", "numpy"]
    assert re.findall(">(2[⁰¹²³⁴⁵⁶⁷⁸⁹]+)<", every[0].small)  # powers of two that were measured
    lines = {"numpy": [(1 << 10, 9.0), (1 << 12, 10.0), (1 << 14, 4.0), (1 << 16, 3.0)]}
    note = _plots._falls(lines, [8 << 10], {"L1": 32 << 10, "L2": 100 << 10})
    assert note == "numpy falls to 40% of its speed from 2**12 to 2**14, where the data outgrow L2."


def test_a_library_stands_beside_its_own_functions():
    pytest.importorskip("torch", reason="torch: not installed")
    from relu_xp.bench import _report

    asked = {"function": ["relu"], "dtype": None, "sizes": [64], "backend": ["torch"]}
    targets = _survey.choose(Console(), ["torch"])
    plan = _report.plan(targets, Namespace(peers=False, **asked))
    names = [each["name"] for each in next(plan).hold(0.0)["entries"]]
    assert {"relu_xp, torch", "torch.nn.functional"} <= {*names}


def test_what_is_missing_is_told_once_with_its_reason():
    missing = {
        name: f"ModuleNotFoundError: No module named '{name}'" for name in ("keras", "thinc")
    }
    other = {"onnxruntime": "ModuleNotFoundError: No module named 'keras'"}
    left = [{"mode": "fresh", "left_out": each} for each in (missing, missing, other)]
    assert _summary.left_out({"benchmarks": left}) == [
        ("keras, onnxruntime", "keras is not installed"),
        ("thinc", "thinc is not installed"),
    ]


def test_progress_is_told_in_lines_where_no_bar_is_drawn(monkeypatch, capsys):
    from relu_xp.verify import _progress

    for every, lines in ((0.0, ["counting: 25 %", "counting: 50 %"]), (1e6, [])):
        monkeypatch.setattr(_progress, "EVERY", every)
        with _progress.progress() as bar:
            task = bar.add_task("counting", total=4)
            bar.advance(task)
            bar.advance(task)
        said = capsys.readouterr().err
        assert re.findall("^counting: .* %", said, re.MULTILINE) == lines


@needs_matplotlib
def test_a_page_tells_which_versions_have_changed(record):
    from relu_xp.bench import _page

    old = copy.deepcopy(record)
    old["about"]["versions"]["numpy"] = "1.0"
    assert f"numpy: 1.0 before, {np.__version__} now." in _page.page(
        record, _comparing.compare(old, record)
    )
    assert " before, " not in _page.page(record, _comparing.compare(record, record))


def test_what_is_about_numpy_is_measured_where_numpy_takes_part():
    from relu_xp.bench import _report

    options = Namespace(function=None, dtype=None, sizes=[64], peers=False, backend=["boxes"])
    targets = {
        "numpy": _here()[0],
        "boxes": [_survey.Target("boxes", types.ModuleType("elsewhere"), "cpu")],
    }
    parts = {
        name: {benchmark.part for benchmark in _report.plan(some, options)}
        for name, some in targets.items()
    }
    assert parts["boxes"] == {"overhead", "kernels"}
    assert "training" in parts["numpy"]


def test_jax_is_waited_for():
    pytest.importorskip("jax", reason="jax: not installed")
    result = next(
        _benchmarks.kernels(_survey.choose(Console(), ["jax"]), (RELU,), ("float32",), (1024,), ())
    ).hold(0)
    assert [each["name"] for each in result["entries"]] == ["copy", "relu_xp, jax"]
    assert not result["left_out"]


def test_a_peer_that_breaks_is_left_out_with_the_reason(monkeypatch):
    def absent(*arguments):
        raise ImportError("No module named 'scipy'")

    monkeypatch.setitem(_peers.PEERS, "numpy", {"absent": absent})
    result = next(_benchmarks.kernels(*_here(), (RELU,), ("float32",), (16,), *_here())).hold(0.0)
    assert result["left_out"] == {"absent": "ImportError: No module named 'scipy'"}


def test_what_memory_cannot_hold_is_left_out_with_the_reason(monkeypatch):
    monkeypatch.setattr(_benchmarks._environment, "available_memory", lambda: 1 << 20)
    benchmark = next(_benchmarks.kernels(*_here(), (RELU,), ("float32",), (1 << 22,), ()))
    result = benchmark.hold(0.0)
    assert result["entries"] == []
    assert result["left_out"] == {"all": "0.094 GiB of memory would be needed"}
    benchmark = next(_benchmarks.kernels(*_here(), (RELU,), ("float32",), (1 << 39,), ()))
    assert benchmark.hold(0.0)["left_out"] == {"all": "1.2e+04 GiB of memory would be needed"}


def test_a_library_without_the_dtype_is_left_out_with_the_reason():
    backend = types.ModuleType("elsewhere")
    backend.put = lambda array, device: array.astype("f4")
    target = _survey.Target("boxes", backend, "cpu")
    result = next(
        _benchmarks.kernels([*_here()[0], target], (RELU,), ("float64",), (16,), ())
    ).hold(0.0)
    assert result["left_out"] == {"relu_xp, boxes": "TypeError: holds no float64 here"}
    assert "relu_xp, numpy" in [each["name"] for each in result["entries"]]


def test_float64_is_measured(capsys):
    chosen = ["--function", "relu_grad", "--dtype", "float64", "--sizes", "16", "--seconds", "0"]
    assert __main__.main(["bench", "--backend", "numpy", *chosen]) == 0
    assert "relu_grad of float64 on cpu" in capsys.readouterr().out


def test_three_files_are_too_many_to_compare(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["bench", "--compare", "a", "b", "c"])
    assert "--compare takes one file" in capsys.readouterr().err


def test_what_a_machine_does_not_tell(tmp_path):
    assert _benchmarks._environment._text(tmp_path / "nothing here") == ""


def test_times_have_the_unit_that_suits():
    assert [_summary.time_name(seconds) for seconds in (2.5e-8, 9.996e-7, 2.5e-3, 25.0)] == [
        "25 ns",
        "1 µs",
        "2.5 ms",
        "25 s",
    ]
