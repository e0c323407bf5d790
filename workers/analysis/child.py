"""`python -m workers.analysis.child`: computes one step after the other, as `workers.analysis.processes` asks.

A task is a line of JSON on standard input, its answer one on standard output. The end of standard input is the end of the process
that asks: it is read beside the work, so that no step outlives the worker that wanted it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from workers.analysis.compute.refusal import Refused

Step = Callable[[Path, dict[str, Any]], dict[str, Any]]

# Modules and not functions: each is imported when its first task comes, since pandas alone takes a second.
STEPS = {
    "load_dataset": "load",
    "validate_data": "validate",
    "perform_exploratory_analysis": "explore",
    "apply_clustering": "cluster",
    "generate_visualizations": "draw",
    "save_analysis_results": "report",
}
_FRAMES = 3


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal and a supervisor signal the whole group; the worker decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        answers.write(json.dumps(answer(json.loads(tasks.get()))).encode() + b"\n")
        answers.flush()


def _listen(tasks: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    os._exit(0)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Never raises, and never tells an unexpected error's text: it may hold a stranger's data."""
    try:
        step: Step = import_module(f"workers.analysis.compute.{STEPS[task['step']]}").run
        return {"result": step(Path(task["folder"]), task["given"])}
    except Refused as refused:
        return {"refused": {"code": refused.code, "message": refused.message}}
    except Exception as error:  # noqa: BLE001 - it ends the step, not the process
        trace = traceback.extract_tb(error.__traceback__)
        frames = [*[frame for frame in trace[:-1] if "analysis" in Path(frame.filename).parts][-_FRAMES:], trace[-1]]
        at = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
        return {"fault": {"kind": type(error).__name__, "at": at}}


if __name__ == "__main__":
    main()
