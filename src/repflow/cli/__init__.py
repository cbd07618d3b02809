"""The command line: `repflow STAGE` and the commands to choose parameters and to use results."""
