"""Patchwork's library: the operation log, changes, views, merging, the queue's rules, the mount."""
