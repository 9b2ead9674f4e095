"""Persistent trees, overlays, and their composition into what a view shows. Pure."""
