"""Update rules by name: ours and those of other packages, entry points of the group `eapu_hil.rules`.

An entry point leads to the configuration of a rule, a `RuleModel`: `bp = "eapu_hil.rules.bp:BpConfig"`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.named import ByName
from eapu_hil.rules.contract import RuleModel

GROUP = "eapu_hil.rules"
_BY_NAME = ByName(GROUP, "rule", RuleModel)
check_rule = _BY_NAME.check

RuleConfig = Annotated[RuleModel, _BY_NAME]


def installed_rules() -> dict[str, type[RuleModel]]:
    """Every rule that is installed, by name, without those that cannot be loaded. Imports all of them."""
    return _BY_NAME.installed()


def known_rule(name: str, allow_modules: Collection[str] = ()) -> type[RuleModel]:
    """The config class of rule `name`, or the base class for one that is not installed here or not allowed.

    For reports, which show runs of other people too.
    """
    try:
        return _BY_NAME.model_for({"name": name}, allow_modules)
    except ConfigError:
        return RuleModel
