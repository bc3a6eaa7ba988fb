"""The language for networks: text to Graph and back. docs/language.md teaches it."""

from .network import build_network, fix_inputs, list_networks, read_network, read_source
from .printer import format_network, weights_of
from .source import LanguageError

__all__ = ["LanguageError", "build_network", "fix_inputs", "format_network", "list_networks", "read_network",
           "read_source", "weights_of"]
