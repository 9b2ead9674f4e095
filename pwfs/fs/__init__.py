"""The mount: main, its moments, views and workspaces as directories. Only here is pyfuse3 known."""
