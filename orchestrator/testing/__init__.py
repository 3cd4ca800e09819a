"""Contract suites for plug-ins: run them on your own samplers and schedulers."""
