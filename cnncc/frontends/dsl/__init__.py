"""The language for networks: text to Graph and back. docs/language.md teaches it."""

from .network import build_network, list_networks, read_network
from .source import LanguageError

__all__ = ["LanguageError", "build_network", "list_networks", "read_network"]
