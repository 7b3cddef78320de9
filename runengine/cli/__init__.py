"""The command line: parse, call a manager, render."""
