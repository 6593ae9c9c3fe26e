"""tiles.json: what was timed on a card is used on that chip, and nowhere else."""

from __future__ import annotations

import json

import pytest
import torch

from dftfast.kernels.triton import chip

DEVICE = torch.device("cpu")  # counts as sm_80
DEFAULT = {"BLOCK": 1024, "num_warps": 4}


@pytest.fixture
def timed(monkeypatch):
    entry = {"tiles": {"an op": {"16 bits": {"BLOCK": 2048}}}}
    monkeypatch.setattr(chip, "timed_tiles", lambda: {"80": entry})


def test_what_was_timed_replaces_the_default(timed):
    assert chip.tile("an op", "16 bits", DEVICE, DEFAULT) == {"BLOCK": 2048, "num_warps": 4}
    assert DEFAULT["BLOCK"] == 1024


@pytest.mark.parametrize("op,shapes", [("an op", "32 bits"), ("another", "16 bits")])
def test_the_default_where_nothing_was_timed(timed, op, shapes):
    assert chip.tile(op, shapes, DEVICE, DEFAULT) == DEFAULT


def test_another_chip_gets_the_default(timed, monkeypatch):
    monkeypatch.setattr(chip, "capability", lambda device: 90)
    assert chip.tile("an op", "16 bits", DEVICE, DEFAULT) == DEFAULT


def test_every_entry_names_the_card_that_it_was_timed_on():
    for number, entry in json.loads(chip.TILES.read_text()).items():
        assert int(number) >= 80 and entry["tiles"]
        assert {"device", "torch", "triton"} <= set(entry["machine"]), number
