# Without EchoRL: verl's own loss and sampler, bit for bit, and the group statistics.
args+=(+echo.coef=0)
