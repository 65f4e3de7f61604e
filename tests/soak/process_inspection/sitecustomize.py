"""Put on PYTHONPATH, this lets a Python process tell what is in it: at each SIGUSR2 it writes `SOAK_INSIDE/<pid>.json`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections import Counter

_MAX_TYPES = 40
"""Types told, the most frequent."""


def _write_answer(_number: int, _frame: object) -> None:
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        tasks = 0  # no loop runs
    gc.collect()  # garbage that waits for its turn is no leak: Python leaves it until there is a quarter more of everything
    types = Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())
    path = os.path.join(os.environ["SOAK_INSIDE"], f"{os.getpid()}.json")
    with open(f"{path}.new", "w") as file:
        json.dump({"tasks": tasks, "objects": types.total(), "types": dict(types.most_common(_MAX_TYPES))}, file)
    os.replace(f"{path}.new", path)


signal.signal(signal.SIGUSR2, _write_answer)
