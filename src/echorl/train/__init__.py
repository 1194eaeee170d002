"""`echorl train` and `echorl sft`: a recipe -> a trainer -> a run folder."""
