"""The JSON contract: what callers send and what they get back. Knows no database, no provider and no engine."""
