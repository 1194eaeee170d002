"""From rollouts to tables: whose steps are uncertain, and what EchoRL would mine from them."""
