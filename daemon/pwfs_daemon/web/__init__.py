"""The HTTP API: one file per resource, each a thin translation to the repository and back."""
