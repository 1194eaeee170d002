#!/usr/bin/env bash
# GRPO + EchoRL in ms-swift: your command with --external_plugins examples/swift_plugin.py.
#
#   bash examples/swift.sh [more flags of swift rlhf]
#
# It trains the small policy that comes with echorl on sums for four steps, on a CPU, without a network. One sees
# ms-swift's log with the line "EchoRL is active", echo/ metrics of each step, a table of where the rollouts went, and the
# command that reads the run's log. A minute; it needs an environment of its own (docs/guides/ms-swift.md).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p runs
python - > runs/sums.jsonl <<'PY'
import json, random

draw = random.Random(0)
for _ in range(64):
    numbers = [draw.randint(10, 99) for _ in range(draw.choice((2, 3, 4)))]
    prompt = f"State the final answer to the following arithmetic problem: {' + '.join(map(str, numbers))} ="
    print(json.dumps({"messages": [{"role": "user", "content": prompt}], "solution": str(sum(numbers))}))
PY
export HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
# beta: the KL term, which ms-swift has by default and the paper's runs do not.
swift rlhf --rlhf_type grpo \
    --external_plugins "$here/swift_plugin.py" --reward_funcs right_sum \
    --model "$(python -c 'from echorl.models import path; print(path("quickstart"))')" \
    --model_type llama --template plain_lines --use_hf true --tuner_type full --attn_impl sdpa \
    --torch_dtype float32 --bf16 false --fp16 false --use_vllm false \
    --dataset runs/sums.jsonl --split_dataset_ratio 0 --dataset_num_proc 1 --dataloader_num_workers 0 \
    --num_generations 8 --per_device_train_batch_size 16 --gradient_accumulation_steps 2 --max_completion_length 80 \
    --beta 0 --learning_rate 1e-4 --max_steps 4 --logging_steps 1 --save_strategy no --report_to none \
    --check_model false --log_completions true --output_dir runs/swift --add_version false "$@"
