"""Hooks of the methods that change what is sampled, each in the file of its rule in `echorl.methods`."""
