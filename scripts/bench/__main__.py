"""Every benchmark of the service, one after the other; takes the options of each."""

from __future__ import annotations

from scripts.bench import crowd, listing, memory, start


def main() -> None:
    """Engines are set up anew for each."""
    for module in (start, listing, crowd, memory):
        module.main()


if __name__ == "__main__":
    main()
