"""Golden trajectories: expert solutions beside a policy's own right ones, and what is left when their steps go."""
