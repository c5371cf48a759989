"""``python -m cli`` is ``carry``."""

import sys


def main() -> None:
    """Start the command line, with a message also for Ctrl-C while its libraries load."""
    try:
        from cli.app import main as start
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\nwhat to do: run the same command again\n")
        sys.exit(130)
    start()


if __name__ == "__main__":
    main()
