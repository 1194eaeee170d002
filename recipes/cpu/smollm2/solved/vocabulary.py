"""SmolLM2 with the tokens of short word problems alone: 496 of 49,152, and 107 M of 135 M parameters.

python recipes/cpu/smollm2/solved/vocabulary.py runs/solved/small
"""

import sys

import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from echorl.models import path
from echorl.models.vocabulary import keep_vocabulary
from echorl.tasks.word_problems import WordProblems

with open(f"{__file__.rpartition('/')[0]}/warm-start.yaml", encoding="utf-8") as file:
    task = WordProblems(**yaml.safe_load(file)["task_options"])
texts = []
for split in ("train", "harder"):
    rows = task.dataset(split, size=4000)
    texts += [prompt + answer for prompt, answer in zip(rows["prompt"], rows["demonstration"], strict=True)]
model, tokenizer = (kind.from_pretrained(path("smollm2")) for kind in (AutoModelForCausalLM, AutoTokenizer))
for part in keep_vocabulary(model, tokenizer, texts):
    part.save_pretrained(sys.argv[1])
