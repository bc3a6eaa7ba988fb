"""ONNX in and out: `import_model` gives a Graph from a model, `export_model` a model from a Graph."""

from .exporter import export_model
from .importer import import_model

__all__ = ["export_model", "import_model"]
