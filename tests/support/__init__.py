"""What tests of every kind share: capability probes, leak check, side-effect guard, file trees."""

from tests.support.capabilities import needs

__all__ = ["needs"]
