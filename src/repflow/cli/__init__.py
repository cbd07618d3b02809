"""The command line: one command per stage, and commands to compose parameters and to use results."""
