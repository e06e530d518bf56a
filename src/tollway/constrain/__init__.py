"""JSON Schema to grammar: what may be generated, decided before the first token."""
