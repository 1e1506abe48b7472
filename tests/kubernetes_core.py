"""The modules of kubernetes.core, run in this process: their code and their client, without the seconds that starting them takes."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Mapping
from typing import Any

from ansible.module_utils import basic

from tests.bootstrap import galaxy

AVAILABLE = (galaxy.PLACE / "ansible_collections" / "kubernetes" / "core").is_dir() and importlib.util.find_spec("kubernetes") is not None


def execute(module: str, arguments: Mapping[str, Any], _limit_s: float) -> dict[str, Any]:
    """As Cluster of plugin_utils/cluster.py has modules executed; the limit in time is left to the test."""
    _reachable()
    code = importlib.import_module(f"ansible_collections.kubernetes.core.plugins.modules.{module.rpartition('.')[2]}")
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}).encode()
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        basic._ANSIBLE_PROFILE = "legacy"
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        code.main()
    return json.loads(output.getvalue().splitlines()[-1])


def _reachable() -> None:
    """Beside our own collection, which is on the path by pyproject.toml."""
    namespace = importlib.import_module("ansible_collections")
    place = str(galaxy.PLACE / "ansible_collections")
    if place not in namespace.__path__:
        sys.path.append(str(galaxy.PLACE))
        namespace.__path__ = [*namespace.__path__, place]
