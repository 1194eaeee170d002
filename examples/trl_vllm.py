"""examples/trl_cpu.py with vLLM as the sampler, in TRL's colocate mode: three settings more.

    python examples/trl_vllm.py

It needs a GPU and vLLM (`pip install '.[trl,vllm]'`). One sees the same as there; the entropies come from the pass that
TRL makes for its importance-sampling correction (`echo/entropy_source/old_pass`), so that EchoRL costs no forward here
either. A minute, most of it the engine's start. A test runs it with vLLM's CPU build (docs/guides/vllm.md).
"""

import torch
from trl_cpu import make_rows, right_sum

from echorl.models import path
from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer

if __name__ == "__main__":
    args = EchoGRPOConfig(
        "runs/trl-vllm",
        use_vllm=True,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=0.3,
        echo_coef=0.001,
        num_generations=8,
        per_device_train_batch_size=32,
        max_completion_length=80,
        max_steps=4,
        learning_rate=1e-4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
    )
    EchoGRPOTrainer(path("quickstart"), right_sum, args, train_dataset=make_rows()).train()
