"""The signal probe: the gradients of EchoRL and its rivals at a checkpoint, before anything is trained."""
