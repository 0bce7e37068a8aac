"""JAX arrays on eight virtual devices and in two processes: runs `jax_devices.py`."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("jax_devices.py")
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_jax.py"


def start(devices, *command):
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    """Wait for the processes, and give what each printed. All must succeed."""
    try:
        texts = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, texts, strict=True):
        assert process.returncode == 0, text
    return texts


@pytest.mark.parametrize(
    "name",
    [
        "sharding_is_kept",
        "a_gradient_communicates_only_what_any_would",
        "shard_map",
        "each_device",
        "a_number_is_at_home_everywhere",
    ],
)
def test_eight_devices(jax, name):
    if "everywhere" in name and not (
        hasattr(jax, "set_mesh") and hasattr(jax.sharding, "AxisType")
    ):
        pytest.skip("this JAX has no explicit meshes")
    assert finish(start(8, SCRIPT, name))[0].endswith(f"done: {name}\n")


def test_two_processes_share_one_array(jax):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    name = "one_of_several_processes"
    first, second = finish(*(start(2, SCRIPT, name, address, 2, index) for index in range(2)))
    loss = [
        next(line for line in text.splitlines() if line.startswith("the loss is"))
        for text in (first, second)
    ]
    assert loss[0] == loss[1]
    assert first.endswith(f"done: {name}\n")


def test_the_example_trains_as_with_jax_nn(jax, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    pytest.importorskip("rich", reason="rich: not installed")
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    import json

    file = tmp_path / "digits.json"
    text = finish(start(8, EXAMPLE, "--epochs", 3, "--json", file))[0]
    assert "equal to the bit" in text
    found = json.loads(file.read_text())
    ours, theirs = found["relu_xp.relu, 0 at 0"], found["jax.nn.relu"]
    assert ours["losses"] == theirs["losses"]
    assert len(ours["losses"]) == 15
    for record in found.values():
        assert record["losses"][-1] < record["losses"][0] / 3
        assert record["accuracy"] > 0.85
