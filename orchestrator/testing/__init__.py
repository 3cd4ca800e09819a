"""Contract suites for what users plug in: run them on samplers of your own."""
