"""Instruments in a process of their own, as real ones are: `python station_process.py BENCH CHIP`, BENCH a JSON text.

Prints the bench file of a program that uses them over TCP; then, for each line that it reads, which outputs are on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from eapu_drivers.simulated.instruments.station import open_station

from eapu_hil.base.loading import load_model
from eapu_hil.bench.config import BenchConfig


def say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> None:
    content = json.loads(sys.argv[1])
    config = load_model(BenchConfig, content, (), "benches")
    with open_station(config, Path(sys.argv[2])) as (station, places):
        instruments = config.instruments.model_dump(mode="json")
        gate = {"resource": places["gate"].resource, "channel": places["gate"].channel}
        used = {
            **{key: value for key, value in content.items() if key not in ("preset", "seed")},
            "resource": places["source"].resource,
            "instruments": {
                **instruments,
                "channel": places["source"].channel,
                "gate": gate,
                "switch": places["switch"].resource,
            },
        }
        say({"bench": used})
        for _ in sys.stdin:
            say({"on": [source.level_v for source in station.probe.sources if source.on]})


if __name__ == "__main__":
    main()
