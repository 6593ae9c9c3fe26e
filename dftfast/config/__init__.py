"""The configuration of a run: one validated tree, from defaults, preset, YAML and command line."""

from __future__ import annotations

from dftfast.config.command_line import parse_command_line
from dftfast.config.layers import load_config
from dftfast.config.schema import Config

__all__ = ["Config", "load_config", "parse_command_line"]
