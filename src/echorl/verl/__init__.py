"""EchoRL as a plug-in for verl 0.9.1 and newer (docs/guides/verl.md): trainers `echo_sync`, `echo_colocate_async`,
`echo_separate_async`.

Nothing is imported here: verl loads `echorl.verl.plugin` in every process that imports it.
"""
