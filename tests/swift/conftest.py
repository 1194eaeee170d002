"""ms-swift on this CPU; where it is missing these tests are skipped."""

from __future__ import annotations

import importlib.util
import os

import pytest

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", USE_HF="1")
if importlib.util.find_spec("swift") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Leave ms-swift's table of trainers, and the settings of `use_echo`, as they were."""
    from swift.trainers.trainer_factory import TrainerFactory

    from echorl.swift import settings

    monkeypatch.setattr(TrainerFactory, "TRAINER_MAPPING", dict(TrainerFactory.TRAINER_MAPPING))
    monkeypatch.setattr(settings, "_active", [])
