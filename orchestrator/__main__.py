"""`python -m orchestrator`: the `orch` command where no console script is on the path."""

from orchestrator.cli import main

if __name__ == "__main__":
    main()
