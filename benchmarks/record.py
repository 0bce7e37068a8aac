"""Records what the docs show: runs benchmarks, and writes what they print where the docs read it.

    python benchmarks/record.py in_torch exports in_jax numpy bench
    python benchmarks/record.py in_tensorflow    # where TensorFlow is installed

Each record begins with the commit, the date, the processor and its load. Run it on an idle machine,
then `python docs/figures.py` for the table of the README and `nox -s plots` for the pictures.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from relu_xp.bench._environment import describe

ROOT = Path(__file__).parents[1]
PRINTED = ("exports", "in_jax", "in_tensorflow", "in_torch")
# Records as JSON: the folder, and the command whose last argument is the file.
JSON = {
    "bench": ("", ["-m", "relu_xp", "bench", "--peers", "--json"]),
    "numpy": ("numpy", ["benchmarks/numpy_speed.py", "--json"]),
}


def commit() -> str:
    """Name the commit that is measured, with a plus where files of src differ from it."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.check_output([*git, "rev-parse", "--short=8", "HEAD"], text=True).strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "src"], check=False).returncode
    return name + "+" * bool(changed)


def main() -> int:
    """Make the records asked for; 1 if a benchmark fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=(*PRINTED, *JSON))
    for name in parser.parse_args().names:
        load = os.getloadavg()[0]
        about = describe() | {"commit": commit(), "load": round(load, 2)}
        print(f"{name}, at a load of {load:.2f} on {about['cores']} cores ...", file=sys.stderr)
        if name in JSON:
            folder, command = JSON[name]
            cpu = re.sub(r"\W+", "-", str(about["cpu"]).replace("(R)", "").lower())
            file = f"{about['date'][:10]}-{cpu}-{about['cores']}-cores.json"
            path = ROOT / "benchmarks" / "results" / folder / file
            done = subprocess.run([sys.executable, *command, str(path)], cwd=ROOT, check=False)
            if done.returncode == 0:
                record = json.loads(path.read_text(encoding="utf-8"))
                record.get("about", record)["commit"] = about["commit"]
                path.write_text(json.dumps(record) + "\n", encoding="utf-8")
        else:
            done = subprocess.run(
                [sys.executable, f"benchmarks/{name}.py"],
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "180"},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            head = (
                f"relu_xp at {about['commit']}, {about['date'][:10]}, {about['cpu']}, "
                f"{about['cores']} cores, load {about['load']}"
            )
            if done.returncode == 0:
                path = ROOT / "docs" / "recorded" / f"{name}.txt"
                path.write_text(f"{head}\n\n{done.stdout}", encoding="utf-8")
        if done.returncode:
            print(f"{name} failed, and left no record", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
