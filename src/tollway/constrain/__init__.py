"""JSON Schema to grammar: what may be generated, decided before the first token."""

from tollway.constrain.schema import json_object_grammar, schema_grammar, tool_calls_grammar

__all__ = ["json_object_grammar", "schema_grammar", "tool_calls_grammar"]
