"""``python -m otastream``."""

from otastream.cli.main import main

if __name__ == "__main__":
    main()
