"""A progress bar on standard error, for `verify` and `bench`."""

import sys
import time
from typing import Any

EVERY = 60.0  # seconds


def progress(*, percent: bool = False) -> Any:
    """Make a bar with a count of steps, or with a percentage.

    Where no bar can be drawn, as into a file, it prints a line now and then.
    """
    from rich import progress as rich
    from rich.console import Console

    class Told(rich.Progress):
        last = time.monotonic()

        def advance(self, task_id: rich.TaskID, advance: float = 1) -> None:
            super().advance(task_id, advance)
            if not self.console.is_terminal and time.monotonic() - self.last >= EVERY:
                self.last = time.monotonic()
                [task] = (each for each in self.tasks if each.id == task_id)
                done = f"{task.percentage:.0f} % after {task.elapsed or 0:.0f} s"
                print(f"{task.description}: {done}", file=sys.stderr, flush=True)

    count = rich.TaskProgressColumn() if percent else rich.MofNCompleteColumn()
    return Told(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        count,
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(elapsed_when_finished=False),
        console=Console(stderr=True),
    )
