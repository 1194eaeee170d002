"""The quickstart: GRPO and GRPO + EchoRL on a small policy, on a CPU, and a page that compares them."""
