"""Chooses the parameters of every rule of the table: the same six short runs for each, by task.

    python benchmarks/search_rules.py DIR [RULE ...]

Prints what the plan holds under `chosen`. Runs in DIR that have ended are not repeated.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from eapu_hil.base.loading import load_model
from eapu_hil.study.batch import Ended, run_all
from eapu_hil.study.plan import TablePlan, experiment_of


def main(directory: Path, rules: list[str]) -> None:
    """Runs all and prints the best setting of each rule and task, with what every setting reached."""
    plan = load_model(TablePlan, "table", (), "tables")
    plan = plan.with_rules(rules) if rules else plan
    wanted = {}
    for task, its in plan.tasks.items():
        if its.search_steps is None:
            continue
        fixed = {"steps": its.search_steps, "evaluate_every": its.search_steps, "seed": its.search_seed}
        for rule in plan.rules_of(task):
            for number, setting in enumerate(plan.rules[rule].search):
                name = f"{task}/{rule}/{number}"
                wanted[name] = (task, rule, setting, experiment_of(plan, task, rule, {**setting, **fixed}))

    def tell(name: str, ended: Ended) -> None:
        reached = ended.summary["metric"]["final"] if ended.summary else ended.error
        print(f"{name}: {reached}", file=sys.stderr, flush=True)

    found = run_all({name: of[3] for name, of in wanted.items()}, directory, os.cpu_count() or 1, tell)
    chosen: dict[str, dict[str, object]] = {}
    for task, rule in dict.fromkeys((task, rule) for task, rule, _, _ in wanted.values()):
        names = [name for name, of in wanted.items() if of[:2] == (task, rule)]
        reached = {name: its["metric"]["final"] for name in names if (its := found[name].summary) is not None}
        if reached:
            best = max(reached, key=lambda name: reached[name])
            chosen.setdefault(rule, {})[task] = wanted[best][2]
        print(f"# {task} {rule}: {[reached.get(name) for name in names]}")
    print(yaml.safe_dump(chosen, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
