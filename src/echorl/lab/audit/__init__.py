"""`echorl audit`: what a run loses on groups without a gradient, read from its logs. Imports no torch."""
