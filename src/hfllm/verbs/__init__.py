"""Verbs of the command with many options, one a module; cli.py gives them their names."""
