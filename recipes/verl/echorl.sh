# EchoRL with the paper's values; the others are defaults.
args+=(+echo.coef=0.001)
