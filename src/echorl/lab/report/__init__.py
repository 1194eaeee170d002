"""Reports: plots, and a self-contained HTML page with a gallery of EchoClips. Importing this is cheap."""
