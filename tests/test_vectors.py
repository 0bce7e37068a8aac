"""The vectors: what they hold, that they are the same everywhere, and who passes them."""

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import relu_xp
from relu_xp import __main__
from relu_xp._functions import FUNCTIONS
from relu_xp.verify import FLOATS, same_bits
from relu_xp.verify._faults import Wrong, causes
from relu_xp.verify._vectors import FLAGS, OPERATORS, write, write_onnx

EXAMPLE = Path(__file__).parents[1] / "examples" / "vectors.c"
DIGESTS = {  # by function, and of the inputs
    "x": "ad6b6b69965f56d7ee650a2d56bcab77dcf8216d268e69a390e96dfbd3b9f2e1",
    "cotangent": "428a348674a397b584bb0e524d780fbd1e9dc437d4face32aa6fce8fcd945513",
    "relu": "524cb4cc6351cc87a5b2c57fa8f57452b4acfa21c6cd57975d4adc1f6042c5b6",
    "relu_grad": "e3fae0b286e86c20b215f05df82c0f298fa0a7e4f003273cc588f256e49267b6",
    "relu_vjp": "4cd54354cea133ccb6da3d685cd0ac606618159a18043cee8ab9835efa90f7a0",
    "leaky_relu": "68160839b5a1133e34451815da9071fcd75d0e280f458443e6951ca87d8cd1ff",
    "leaky_relu_grad": "0f83a8951fac70ef6c60be45d90ef5f7c101f0da07b8274579cd2cd0b01bc5a8",
    "leaky_relu_vjp": "1ecba1437e7efa83191bae127a3e3daec0769c5a16a2e7ff3904bdd2afd65c0a",
    "leaky_relu_slope_vjp": "25cf15786df44e1a5c489826568a18a8e343f65fb7c46b223c527587564b7e15",
    "clipped_relu": "56e6e5f87169f9f8b45e3f625ba2fb5cd5f095edab36d1d256845a4eb829efd4",
    "clipped_relu_grad": "c82514be1dac600a8f0862681a491eb8139ed9c3c4ac5469dbd581add3c587f1",
    "clipped_relu_vjp": "0fe9e55d2c77dfa4242e53c47ab6b44f141f6b3ba2cb79554f879fd9b25c2954",
    "squared_relu": "d8000f47d312d8431740705df5f2257dea3711470f6bba44f436aa647e061e3c",
    "squared_relu_grad": "a81248db9a301fa324b0e51c7d548318ceea5a7b72510f7603fd53c71ab676d8",
    "squared_relu_vjp": "7f9401b3fad2afb235fe744f83216eb54a074902ab3353804b6a9833ef86aa92",
}
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in FLOATS}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """All of them, by the command."""
    pytest.importorskip("rich", reason="rich: not installed")
    folder = tmp_path_factory.mktemp("vectors") / "made" / "here"
    assert __main__.main(["vectors", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def documents(vectors):
    return {path.stem: json.loads(path.read_text()) for path in vectors.glob("*_*.json")}


def array(words, dtype):
    """The elements that hex words, or unsigned integers, stand for."""
    numbers = [int(word, 16) if isinstance(word, str) else word for word in words]
    return np.array(numbers, f"u{dtype.itemsize}").view(dtype)


def groups(document):
    """Each group's scalars, arrays and due results."""
    dtype = DTYPES[document["dtype"]]
    for group in document["groups"]:
        columns = [
            array([case[name] for case in group["cases"]], dtype)
            for name in (*document["arrays"], "due")
        ]
        yield (
            {name: each["value"] for name, each in group["scalars"].items()},
            columns[:-1],
            columns[-1],
        )


def test_there_is_a_file_for_each_function_and_dtype_and_all_are_small(vectors, documents):
    assert {*documents} == {f"{function}_{dtype}" for function in FUNCTIONS for dtype in FLOATS}
    assert sum(path.stat().st_size for path in vectors.iterdir()) <= 800_000 * len(FUNCTIONS)


def test_they_follow_their_schema(vectors, documents):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema: not installed")
    schema = json.loads((vectors / "vectors.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for document in documents.values():
        validator.validate(document)
    case = documents["relu_float16"]["groups"][0]["cases"][0]
    case["status"] = "convention"  # without a rival
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(documents["relu_float16"])
    case["status"] = "must"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("relu_vjp_float16", {"cotangent": None}),
        ("relu_float16", {"cotangent": "0x0000"}),
        ("relu_grad_float16", {"rival": None}),
        ("relu_grad_float16", {"rival_due": None}),
        ("relu_grad_float16", {"status": "must"}),
    ],
)
def test_their_schema_refuses_what_has_too_little_or_too_much(vectors, documents, name, changed):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema: not installed")
    validator = jsonschema.Draft202012Validator(
        json.loads((vectors / "vectors.schema.json").read_text())
    )
    group = documents[name]["groups"][0]
    case = next(
        case for case in group["cases"] if case["status"] == "convention" or "grad" not in name
    )
    wrong = {key: value for key, value in {**case, **changed}.items() if value is not None}
    right, spoilt = (
        {**documents[name], "groups": [{**group, "cases": [each]}]} for each in (case, wrong)
    )
    validator.validate(right)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(spoilt)


def test_each_file_says_what_it_is(documents):
    for document in documents.values():
        assert document["flags"] == FLAGS
        assert document["cases"] == sum(len(group["cases"]) for group in document["groups"])
        assert document["arrays"] == list(FUNCTIONS[document["function"]].arrays)
    assert documents["leaky_relu_float16"]["table"] == [
        {"where": "(x < 0.0)", "gives": "(negative_slope * x)"},
        {"where": "not (x < 0.0)", "gives": "x"},
    ]
    scalars = documents["leaky_relu_float16"]["groups"][0]["scalars"]
    assert scalars == {"negative_slope": {"value": 0.01, "bits": "0x211f"}}


def test_numpy_passes_the_vectors(wanted, vectors, documents):
    wanted("numpy")
    for document in documents.values():
        f = getattr(relu_xp, document["function"])
        for scalars, arrays, due in groups(document):
            with np.errstate(all="ignore"):
                assert same_bits(f(*arrays, **scalars), due).all()
        dtype = DTYPES[document["dtype"]]
        for long in document["long"]:
            given = {name: each["value"] for name, each in long["scalars"].items()}
            *arrays, due = (
                np.load(vectors / long[name]).view(dtype) for name in (*document["arrays"], "due")
            )
            with np.errstate(all="ignore"):
                assert same_bits(f(*arrays, **given), due).all()
            assert due.size > 5000


def test_jax_passes_the_vectors(jax, documents):
    """But for what XLA flushes, which the vectors have a flag for."""
    counted = 0
    for document in documents.values():
        if (
            document["dtype"] == "float64"
        ):  # which costs as many compilations, and tells as much as float32
            continue
        f = getattr(relu_xp, document["function"])
        for (scalars, arrays, due), group in zip(groups(document), document["groups"], strict=True):
            held = np.array(["subnormal" not in case["flags"] for case in group["cases"]])
            got = np.asarray(f(*map(jax.numpy.asarray, arrays), **scalars))
            smallest = abs(due.astype(float)) == float(ml_dtypes.finfo(due.dtype).smallest_normal)
            assert same_bits(got, due)[held & ~smallest].all(), document["function"]
            counted += int(held.sum())
    assert counted > 10_000


def test_flags_and_conventions(documents):
    """Each flag is met, and says what it should."""

    def case(name, x, cotangent=None):
        found = documents[name]["groups"][0]["cases"]
        (one,) = (each for each in found if each["x"] == x and each.get("cotangent") == cotangent)
        return {name: value for name, value in one.items() if name not in ("x", "cotangent")}

    must, convention = {"status": "must"}, {"status": "convention"}
    assert case("relu_float16", "0x7e00") == {"due": "0x7e00", "flags": ["nan"], **must}
    assert case("relu_float16", "0x8000") == {
        "due": "0x0000",
        "flags": ["minus_zero", "kink", "mask"],
        **must,
    }
    assert case("squared_relu_float16", "0x7bff") == {
        "due": "0x7c00",
        "flags": ["overflow"],
        **must,
    }
    assert case("leaky_relu_float32", "0x80000001")["flags"] == [
        "minus_zero",
        "subnormal",
        "rounding",
    ]
    assert case("relu_vjp_float16", "0xbc00", "0x7c00") == {
        "due": "0x0000",
        "flags": ["mask"],
        **must,
    }
    assert case("relu_grad_float16", "0x0000") == {
        "due": "0x3c00", "flags": ["kink"], **convention,
        "rival": "grad_at_zero=0.0", "rival_due": "0x0000",
    }  # fmt: skip
    assert (
        case("leaky_relu_vjp_float32", "0x00000000", "0x3f800000")["rival"] == "grad_at_zero=0.01"
    )
    at_ceiling = case("clipped_relu_grad_float16", "0x4600")
    assert (at_ceiling["rival"], at_ceiling["rival_due"]) == ("grad_at_ceiling=1.0", "0x3c00")
    rivals = Counter(
        each.get("rival")
        for each in documents["leaky_relu_float16"]["groups"][0]["cases"]
        if "rounding" in each["flags"]
    )
    assert rivals["slope_rounding"] > 0
    every = Counter(
        flag
        for each in documents.values()
        for group in each["groups"]
        for one in group["cases"]
        for flag in one["flags"]
    )
    assert every.keys() == FLAGS.keys()


@pytest.mark.parametrize("name", DIGESTS)
def test_the_bytes_are_the_same_everywhere(vectors, name):
    """Digests that were taken once: if one changes, so must VERSION."""
    digest = hashlib.sha256()
    for path in sorted(vectors.iterdir()):
        if path.stem.rpartition("_")[0] == name:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    assert digest.hexdigest() == DIGESTS[name]


def test_some_functions_and_dtypes_alone(tmp_path, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    options = ["--functions", "relu", "relu_vjp", "--dtypes", "float16"]
    command = ["vectors", "--out", str(tmp_path), *options]
    assert __main__.main(command) == 0
    assert "7 files, " in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "vectors.schema.json", "x_float16.npy", "cotangent_float16.npy",
        "relu_float16.json", "relu_float16.npy", "relu_vjp_float16.json", "relu_vjp_float16.npy",
    }  # fmt: skip


def test_every_setting_of_the_scalars_on_request(tmp_path):
    write(tmp_path, ["leaky_relu_grad"], ["float16", "float32"], exhaustive=True)
    half = json.loads((tmp_path / "leaky_relu_grad_float16.json").read_text())["long"]
    assert (
        len(half)
        > len(json.loads((tmp_path / "leaky_relu_grad_float32.json").read_text())["long"])
        == 1
    )
    x = np.load(tmp_path / "x_float16.npy").view(np.float16)
    for long in half:
        due = np.load(tmp_path / long["due"]).view(np.float16)
        scalars = {name: each["value"] for name, each in long["scalars"].items()}
        assert same_bits(relu_xp.leaky_relu_grad(x, **scalars), due).all()


def test_what_cannot_be_written_is_said_in_a_line(tmp_path, capsys, monkeypatch):
    pytest.importorskip("rich", reason="rich: not installed")
    (tmp_path / "file").write_text("kept")
    assert __main__.main(["vectors", "--out", str(tmp_path / "file" / "in")]) == 3
    assert capsys.readouterr().err.startswith("relu-xp vectors: ")
    monkeypatch.setitem(__main__.sys.modules, "onnx", None)
    assert __main__.main(["vectors", "--out", str(tmp_path / "onnx"), "--format", "onnx"]) == 2
    assert (
        "--format onnx needs onnx; to have it: python3 -m pip install onnx"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit) as stop:
        __main__.main(["vectors", "--out", str(tmp_path), "--functions", "gelu"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--functions", "relu", "squared_relu"],
            "ONNX has no operator for squared_relu; it has Relu (relu), LeakyRelu (leaky_relu), "
            "Clip (clipped_relu), PRelu (leaky_relu)",
        ),
        (["--exhaustive"], "--exhaustive goes with --format json"),
    ],
)
def test_what_onnx_has_no_folder_for_is_refused(tmp_path, capsys, options, says):
    pytest.importorskip("rich", reason="rich: not installed")
    pytest.importorskip("onnx", reason="onnx: not installed")
    out = tmp_path / "none"
    assert __main__.main(["vectors", "--out", str(out), "--format", "onnx", *options]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.skipif(not EXAMPLE.exists(), reason="examples/: not beside these tests")
def test_the_example_in_c_reads_them(wanted, vectors, tmp_path):
    wanted("numpy")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("cc: no C compiler here")

    def run(*flags):
        program = tmp_path / "hold"
        options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", *flags]
        subprocess.run([compiler, *options, "-o", program, EXAMPLE], check=True)
        return subprocess.run(
            [program, vectors / "leaky_relu_vjp_float32.json"], capture_output=True, text=True
        )

    right, wrong = run(), run("-DMASKED")
    assert right.returncode == 0
    assert right.stdout.startswith("0 of ")
    assert int(right.stdout.split()[2]) > 2000
    assert wrong.returncode == 1
    assert "inf" in wrong.stdout
    assert subprocess.run([tmp_path / "hold"], capture_output=True).returncode == 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx: not installed")
    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(folder)
    return sorted(folder.iterdir())


def runtimes():
    """How a model is run, by name."""

    def reference(model):
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(str(model))

    def onnxruntime(model):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])

    return {"onnx": reference, "onnxruntime": onnxruntime}


def tensor(path):
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def found(runtime, folders):
    import onnx

    result = {}
    for folder in folders:
        model = onnx.load(folder / "model.onnx")
        onnx.checker.check_model(model)
        names = [each.name for each in model.graph.input]
        data = folder / "test_data_set_0"
        given = {name: tensor(data / f"input_{i}.pb") for i, name in enumerate(names)}
        due = tensor(data / "output_0.pb")
        try:
            with np.errstate(all="ignore"):
                (got,) = runtime(folder / "model.onnx").run(None, given)
        except Exception as error:
            result[folder.name] = {
                "not implemented" if "NOT_IMPLEMENTED" in str(error) else str(error)
            }
            continue
        assert (got.dtype, got.shape) == (due.dtype, due.shape)
        (node,) = model.graph.node
        function = next(function for function, name, *_ in OPERATORS if name == node.op_type)
        scalars = function.named(function.defaults)
        scalars |= {{"alpha": "negative_slope"}[each.name]: each.f for each in node.attribute}
        rows = range(len(due)) if due.ndim == 2 else [slice(None)]
        for row in rows:
            more = {"negative_slope": float(given["slope"][row, 0])} if "slope" in given else {}
            every = Wrong(function, (given["x"][row],), {**scalars, **more}, got[row], due[row])
            same = same_bits(every.got, every.due)
            for cause in causes(every.of(~same), every.of(same)):
                result.setdefault(folder.name, set()).add(cause.kind)
    return result


@pytest.mark.parametrize("name", runtimes())
def test_what_onnx_runtimes_get_wrong(wanted, folders, name):
    wanted("torch")  # the session that has them
    pytest.importorskip(name, reason=f"{name}: not installed")
    assert len(folders) == len(OPERATORS) * len(FLOATS)
    wrong = found(runtimes()[name], folders)
    assert wrong
    assert (
        wrong.items()
        <= {folder: {kind} for kind, each in WRONG[name].items() for folder in each}.items()
    )


def named(pattern, *dtypes):
    return [f"test_{operator}_{dtype}" for operator in pattern.split() for dtype in dtypes]


# As docs/kernels.md tells it; a later version may get more right.
CLIPS, SLOPES = (
    "clip_6.0 clip_6.1",
    "leakyrelu_0.01 leakyrelu_0.2 leakyrelu_2.0 leakyrelu_minus_0.5",
)
WRONG = {
    "onnxruntime": {
        "zero_sign": [
            *named(f"relu {CLIPS}", "float16", "float32", "float64"),
            *named("leakyrelu_0.01 leakyrelu_0.2 prelu", "float64"),
        ],
        "slope_rounding": named("leakyrelu_0.01 leakyrelu_0.2", "float16"),
        "not implemented": named(f"relu {CLIPS} {SLOPES} prelu", "bfloat16"),
    },
    "onnx": {
        "zero_sign": [
            *named("relu", "float16"),
            *named(f"{CLIPS} leakyrelu_minus_0.5", "float16", "bfloat16", "float32", "float64"),
        ],
    },
}
