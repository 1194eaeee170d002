"""Pure tensor functions: steps, entropies, mining, losses, the group ledger. Imports torch alone."""
