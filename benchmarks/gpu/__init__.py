"""One command for a GPU: the `gpu` tests, kernels, step time and memory, and seeds of the study of solved prompts.

    make gpu-carry              # here: wheels to build/wheels, the study's policy in three parts to build/model
    make gpu                    # on the machine with the GPU, which needs no network
    make gpu ARGS=--rehearse    # with tiny sizes on a CPU

Carry the tree, `build/commit`, `build/wheels` and `build/model` to that machine; each part of the model may go in a
transfer of its own, since every file that is there already counts. `make gpu` needs a Python with torch and
transformers. It installs the wheels into `build/site` if TRL is missing, joins the model's parts, and writes
`benchmarks/results/gpu-*.csv` and `gpu-study.jsonl.gz`, five files in all: carry these back. With them, and in the same
tree, a second call does only what is missing. See benchmarks/README.md.
"""
