# Without EchoRL: verl's own loss and sampler, bit for bit, and the group ledger.
args+=(+echo.coef=0)
