"""Runs external filesystem test suites in a workspace; their code is brought by the caller."""
