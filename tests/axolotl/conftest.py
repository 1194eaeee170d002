"""The environment of runs without a network and a GPU; axolotl's telemetry reads it when axolotl is imported."""

import os

os.environ.update(
    ACCELERATE_USE_CPU="true",
    AXOLOTL_DO_NOT_TRACK="1",
    CUDA_VISIBLE_DEVICES="",
    HF_HUB_OFFLINE="1",
    PYTHONPATH=os.pathsep.join(["examples", os.environ.get("PYTHONPATH", "src")]),
    TRL_EXPERIMENTAL_SILENCE="1",
    WANDB_MODE="disabled",
)
