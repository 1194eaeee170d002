"""Files, texts, locks and errors: what every room but `core` and `methods` stands on. Importing it is light."""
