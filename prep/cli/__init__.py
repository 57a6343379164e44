"""The command line of `prep`: one file per command, their shared options, and how results and errors are printed."""
