"""`python -m trioworkers.cli`: the command, where it is not installed as one."""

from trioworkers.cli import main

main(prog_name="trioworkers")
