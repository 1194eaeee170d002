"""Files, texts, locks and errors, for every folder but `core` and `methods`. Importing it is light."""
