"""Pure tensor functions: steps, entropies, mining, losses, groups, their statistics. Imports torch alone."""
