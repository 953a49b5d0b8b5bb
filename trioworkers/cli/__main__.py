from trioworkers.cli import main

main()
